export const HELP = `Turnpike: an AI gateway with hard budgets.

  turnpike                     start the gateway
  turnpike check               validate the configuration and print the routing table
  turnpike explain             where a request would go and why, without sending it:
                               turnpike explain --model claude-opus-5-5 --as user=ada
  turnpike run -- COMMAND …    start the gateway for one command alone, and stop with it:
                               turnpike run -- claude
  turnpike keys create         make a virtual key; it is printed once, on standard output
  turnpike keys list           all keys, who they are for and whether they still work (--json)
  turnpike keys revoke ID …    end a key for good
  turnpike usage               what a key has used of its limits, and when there is more (--json)
  turnpike prices check        what the configured targets cost; exit code 1 when a limit in
                               US dollars covers one without a known price

Options
  -c, --config FILE   configuration; default: turnpike.config.ts, .js, .mjs or .json in
                      this folder, else the embedded defaults below
  -p, --port N        port to listen on; 0 takes a free one (default 8080)
      --host HOST     address to listen on (default 127.0.0.1); an address that others
                      can reach needs \`auth\` in the configuration
      --insecure      listen on such an address without \`auth\` all the same
      --workers N     processes that share the port and the budgets, or "auto": one for each
                      core (default 1); budgets then need a store that they share
      --log FILE      with run: where the gateway's log goes (default turnpike.log in the
                      system's folder for temporary files)
      --db FILE       with keys: the file that holds them (default TURNPIKE_DB or turnpike.db),
                      or postgres://HOST/DATABASE
      --user U, --team T, --tag X, --name TEXT
                      with keys create: whose the key is; --tag may be repeated
      --models GLOB   with keys create: models it may ask for; may be repeated (default all)
      --expires WHEN  with keys create: 12h, 30d, 2w, or a time (2027-01-31T12:00:00Z)
      --model NAME, --request FILE
                      with explain: what is asked for, in short or as a whole request
      --as WHO        with explain: user=U, team=T, key=ID, tag=X; may be repeated
      --header N=V    with explain: a header of the request; may be repeated
      --dialect NAME  with explain: openai-chat (default) or anthropic-messages
      --url URL       with usage: the gateway (default http://127.0.0.1:8080)
      --key KEY       with usage and explain: the key (default TURNPIKE_KEY, which others cannot see)
  -h, --help          this text
  -v, --version       the version

What run sets for its command
  ANTHROPIC_BASE_URL, ANTHROPIC_AUTH_TOKEN, OPENAI_BASE_URL, OPENAI_API_KEY; it takes
  ANTHROPIC_API_KEY away, so that no client has two ways to choose from. With \`auth\`
  configured the key comes from TURNPIKE_KEY. The exit code is the command's own.

Embedded defaults (without a configuration file)
  MISTRAL_API_KEY, ANTHROPIC_API_KEY, OPENAI_API_KEY
                          each adds its provider
  TURNPIKE_LLAMA_URL      a llama-server or the like (default http://127.0.0.1:8081, used
                          when one answers there)
  TURNPIKE_DAILY_TOKENS   limit per day and cloud provider, or "none"; default: 100000 for
                          Mistral where a llama-server can take over
  TURNPIKE_DB             file that keeps the budgets (default turnpike.db)
  Without any of them a simulated provider answers.
`;
