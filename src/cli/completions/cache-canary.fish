# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_cache_canary_global_optspecs
    string join \n h/help V/version
end

function __fish_cache_canary_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_cache_canary_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_cache_canary_using_subcommand
    set -l cmd (__fish_cache_canary_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c cache-canary -n "__fish_cache_canary_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c cache-canary -n "__fish_cache_canary_needs_command" -s V -l version -d 'Print version'
complete -c cache-canary -n "__fish_cache_canary_needs_command" -f -a "serve" -d 'Serve /health, /livez, /readyz and /metrics; each request checks the caches'
complete -c cache-canary -n "__fish_cache_canary_needs_command" -f -a "check" -d 'Check the caches once without a server, or repeatedly with --watch'
complete -c cache-canary -n "__fish_cache_canary_needs_command" -f -a "healthcheck" -d 'Query a running server and print its response, for a HEALTHCHECK without a shell'
complete -c cache-canary -n "__fish_cache_canary_needs_command" -f -a "config" -d 'Validate or print the configuration'
complete -c cache-canary -n "__fish_cache_canary_needs_command" -f -a "acl" -d 'Print Redis users with the minimal ACL for the configured checks'
complete -c cache-canary -n "__fish_cache_canary_needs_command" -f -a "demo" -d 'Start embedded caches, serve their health, and break them one by one with switches'
complete -c cache-canary -n "__fish_cache_canary_needs_command" -f -a "completions" -d 'Print the shell completion script'
complete -c cache-canary -n "__fish_cache_canary_using_subcommand serve" -s c -l config -d 'Configuration file (TOML) [default: the file in CACHE_CANARY_CONFIG, else environment variables only]' -r -F
complete -c cache-canary -n "__fish_cache_canary_using_subcommand serve" -s l -l listen -d 'Address to listen on, instead of the configured ones; repeatable' -r
complete -c cache-canary -n "__fish_cache_canary_using_subcommand serve" -s h -l help -d 'Print help'
complete -c cache-canary -n "__fish_cache_canary_using_subcommand check" -s c -l config -d 'Configuration file (TOML) [default: the file in CACHE_CANARY_CONFIG, else environment variables only]' -r -F
complete -c cache-canary -n "__fish_cache_canary_using_subcommand check" -s f -l format -d 'Output format: a table, the JSON of /health, or the output of a Nagios plugin' -r -f -a "table\t''
json\t''
nagios\t''"
complete -c cache-canary -n "__fish_cache_canary_using_subcommand check" -l every -d 'Interval between rounds, with --watch' -r
complete -c cache-canary -n "__fish_cache_canary_using_subcommand check" -l strict -d 'Exit with a failure if a cache is degraded'
complete -c cache-canary -n "__fish_cache_canary_using_subcommand check" -l explain -d 'Print each command of each check, with the expected and the received answer'
complete -c cache-canary -n "__fish_cache_canary_using_subcommand check" -s w -l watch -d 'Check repeatedly: a live table on a terminal, else a line per status change (json: a line per round)'
complete -c cache-canary -n "__fish_cache_canary_using_subcommand check" -s h -l help -d 'Print help'
complete -c cache-canary -n "__fish_cache_canary_using_subcommand healthcheck" -s c -l config -d 'Configuration file (TOML) [default: the file in CACHE_CANARY_CONFIG, else environment variables only]' -r -F
complete -c cache-canary -n "__fish_cache_canary_using_subcommand healthcheck" -l url -d 'URL to query' -r
complete -c cache-canary -n "__fish_cache_canary_using_subcommand healthcheck" -l socket -d 'Unix socket to query for /health' -r -F
complete -c cache-canary -n "__fish_cache_canary_using_subcommand healthcheck" -l ca-file -d 'CA certificates (PEM) to trust instead of the system\'s, for https' -r -F
complete -c cache-canary -n "__fish_cache_canary_using_subcommand healthcheck" -l cert-file -d 'Client certificate (PEM), if the server requires one' -r -F
complete -c cache-canary -n "__fish_cache_canary_using_subcommand healthcheck" -l key-file -d 'Private key (PEM) of the client certificate' -r -F
complete -c cache-canary -n "__fish_cache_canary_using_subcommand healthcheck" -l timeout -d 'Timeout for the whole request' -r
complete -c cache-canary -n "__fish_cache_canary_using_subcommand healthcheck" -l insecure -d 'Accept any certificate; use only for a server on loopback'
complete -c cache-canary -n "__fish_cache_canary_using_subcommand healthcheck" -s h -l help -d 'Print help'
complete -c cache-canary -n "__fish_cache_canary_using_subcommand config; and not __fish_seen_subcommand_from check show schema" -s h -l help -d 'Print help'
complete -c cache-canary -n "__fish_cache_canary_using_subcommand config; and not __fish_seen_subcommand_from check show schema" -f -a "check" -d 'Validate the configuration and its certificates, and list the checked caches'
complete -c cache-canary -n "__fish_cache_canary_using_subcommand config; and not __fish_seen_subcommand_from check show schema" -f -a "show" -d 'Print the effective configuration with the origin of each value; secrets are masked as "***"'
complete -c cache-canary -n "__fish_cache_canary_using_subcommand config; and not __fish_seen_subcommand_from check show schema" -f -a "schema" -d 'Print the JSON Schema of the configuration file, for editors'
complete -c cache-canary -n "__fish_cache_canary_using_subcommand config; and __fish_seen_subcommand_from check" -s c -l config -d 'Configuration file (TOML) [default: the file in CACHE_CANARY_CONFIG, else environment variables only]' -r -F
complete -c cache-canary -n "__fish_cache_canary_using_subcommand config; and __fish_seen_subcommand_from check" -s h -l help -d 'Print help'
complete -c cache-canary -n "__fish_cache_canary_using_subcommand config; and __fish_seen_subcommand_from show" -s c -l config -d 'Configuration file (TOML) [default: the file in CACHE_CANARY_CONFIG, else environment variables only]' -r -F
complete -c cache-canary -n "__fish_cache_canary_using_subcommand config; and __fish_seen_subcommand_from show" -s h -l help -d 'Print help'
complete -c cache-canary -n "__fish_cache_canary_using_subcommand config; and __fish_seen_subcommand_from schema" -s h -l help -d 'Print help'
complete -c cache-canary -n "__fish_cache_canary_using_subcommand acl" -s c -l config -d 'Configuration file (TOML) [default: the file in CACHE_CANARY_CONFIG, else environment variables only]' -r -F
complete -c cache-canary -n "__fish_cache_canary_using_subcommand acl" -s h -l help -d 'Print help'
complete -c cache-canary -n "__fish_cache_canary_using_subcommand demo" -s l -l listen -d 'Address for /health [default: 127.0.0.1:8080, or a free port if that is taken]' -r
complete -c cache-canary -n "__fish_cache_canary_using_subcommand demo" -l control -d 'Address for the switches [default: 127.0.0.1:8081, or a free port if that is taken]' -r
complete -c cache-canary -n "__fish_cache_canary_using_subcommand demo" -s h -l help -d 'Print help'
complete -c cache-canary -n "__fish_cache_canary_using_subcommand completions" -s h -l help -d 'Print help'
