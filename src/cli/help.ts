export const HELP = `Turnpike: an AI gateway with hard budgets.

  turnpike                     start the gateway
  turnpike check               validate the configuration and print the routing table
  turnpike run -- COMMAND …    start the gateway for one command alone, and stop with it:
                               turnpike run -- claude

Options
  -c, --config FILE   configuration; default: turnpike.config.ts, .js, .mjs or .json in
                      this folder, else the embedded defaults below
  -p, --port N        port to listen on; 0 takes a free one (default 8080)
      --host HOST     address to listen on (default 127.0.0.1); an address that others
                      can reach needs \`auth\` in the configuration
      --insecure      listen on such an address without \`auth\` all the same
      --log FILE      with run: where the gateway's log goes (default turnpike.log in the
                      system's folder for temporary files)
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
