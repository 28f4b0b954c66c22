/**
 * Tools that Anthropic defines and the client executes: on the wire they have a type and no schema, because Claude was
 * trained on them. For any other model they are functions with the parameters of the vendor's documentation
 * [A-DOC bash-tool, text-editor-tool, memory-tool; A-SDK].
 */
import type { JsonObject } from "../../core/util.ts";

export interface ClientTool {
  description: string;
  parameters: JsonObject;
}

const string = (description: string): JsonObject => ({ type: "string", description });
const line = (description: string): JsonObject => ({ type: "integer", description });
const range: JsonObject = {
  type: "array",
  items: { type: "integer" },
  description: "For `view` of a file: first and last line, counted from 1; -1 as the last is the end of the file.",
};
const commands = (...names: string[]): JsonObject => ({ type: "string", enum: names, description: "What to do." });

const BASH: ClientTool = {
  description:
    "Runs a command in a persistent bash session and returns its output. Working directory, variables and files last from one call to the next. Interactive programs are not possible.",
  parameters: {
    type: "object",
    properties: {
      command: string("The command to run. Required unless the session is restarted."),
      restart: { type: "boolean", description: "`true` restarts the session; otherwise left out." },
    },
  },
};

const EDIT = {
  command: commands("view", "create", "str_replace", "insert"),
  path: string("Path of the file; for `view` also of a directory."),
  view_range: range,
  file_text: string("For `create`: the content of the file."),
  old_str: string("For `str_replace`: the text to replace, exactly as it stands in the file, white space included."),
  new_str: string("For `str_replace`: the text to put in its place."),
  insert_line: line("For `insert`: the line after which the text is inserted; 0 is the beginning of the file."),
  insert_text: string("For `insert`: the text to insert."),
};

const EDITOR: ClientTool = {
  description:
    "Views, creates and edits text files. `view` shows a file with line numbers or lists a directory, `create` writes a whole file, `str_replace` replaces a text that occurs exactly once, `insert` adds text after a line.",
  parameters: { type: "object", properties: EDIT, required: ["command", "path"] },
};

/** Up to 2025-01 an edit can be undone, and what is inserted goes by the name of `new_str`. */
const FIRST_EDITOR: ClientTool = {
  description: `${EDITOR.description} \`undo_edit\` takes back the last edit of a file.`,
  parameters: {
    type: "object",
    properties: {
      ...EDIT,
      command: commands("view", "create", "str_replace", "insert", "undo_edit"),
      new_str: string("For `str_replace`: the text to put in its place. For `insert`: the text to insert."),
    },
    required: ["command", "path"],
  },
};

const MEMORY: ClientTool = {
  description:
    "Keeps notes in files below /memories that last from one conversation to the next. Look there first with `view` before a task, and write down what will be needed again.",
  parameters: {
    type: "object",
    properties: {
      ...EDIT,
      command: commands("view", "create", "str_replace", "insert", "delete", "rename"),
      path: string("Path of the file or directory, below /memories. For every command but `rename`."),
      old_path: string("For `rename`: the path as it is."),
      new_path: string("For `rename`: the path as it shall be."),
    },
    required: ["command"],
  },
};

const KNOWN: readonly (readonly [RegExp, ClientTool])[] = [
  [/^bash_\d{8}$/, BASH],
  [/^text_editor_(2024\d{4}|20250124)$/, FIRST_EDITOR],
  [/^text_editor_\d{8}$/, EDITOR],
  [/^memory_\d{8}$/, MEMORY],
];

/** What a typed client tool is to a model that does not know it. */
export function clientTool(type: string): ClientTool | undefined {
  return KNOWN.find(([pattern]) => pattern.test(type))?.[1];
}

/** Tools that the client executes too, but whose calls are made for one kind of model only. */
const ONLY_HERE = /^(computer|browser)(_|$)/;

export function isOnlyHere(type: string): boolean {
  return ONLY_HERE.test(type);
}
