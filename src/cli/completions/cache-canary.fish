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
complete -c cache-canary -n "__fish_cache_canary_needs_command" -f -a "serve" -d 'Serve /health, /livez, /readyz and /metrics, and check the caches whenever they are asked for'
complete -c cache-canary -n "__fish_cache_canary_needs_command" -f -a "check" -d 'Check the caches once, now, without a server; or again and again'
complete -c cache-canary -n "__fish_cache_canary_needs_command" -f -a "healthcheck" -d 'Ask a running server, and print what it answers: for HEALTHCHECK where no shell is'
complete -c cache-canary -n "__fish_cache_canary_needs_command" -f -a "config" -d 'Check or show the configuration'
complete -c cache-canary -n "__fish_cache_canary_needs_command" -f -a "acl" -d 'Print the least Redis users that the configured checks need'
complete -c cache-canary -n "__fish_cache_canary_needs_command" -f -a "demo" -d 'Watch caches go down: starts some of its own, serves their health, and has a switch to break each'
complete -c cache-canary -n "__fish_cache_canary_needs_command" -f -a "completions" -d 'Print what a shell needs to complete the commands and options of cache-canary'
complete -c cache-canary -n "__fish_cache_canary_using_subcommand serve" -s c -l config -d 'The configuration file, in TOML; without one, the one that CACHE_CANARY_CONFIG names, or the environment alone' -r -F
complete -c cache-canary -n "__fish_cache_canary_using_subcommand serve" -s l -l listen -d 'Listen on this address and not on the configured ones; may be given several times' -r
complete -c cache-canary -n "__fish_cache_canary_using_subcommand serve" -s h -l help -d 'Print help'
complete -c cache-canary -n "__fish_cache_canary_using_subcommand check" -s c -l config -d 'The configuration file, in TOML; without one, the one that CACHE_CANARY_CONFIG names, or the environment alone' -r -F
complete -c cache-canary -n "__fish_cache_canary_using_subcommand check" -s f -l format -d 'How to say it: a table, the JSON that /health answers, or a line for Nagios and what speaks its plugins\' language' -r -f -a "table\t''
json\t''
nagios\t''"
complete -c cache-canary -n "__fish_cache_canary_using_subcommand check" -l every -d 'How long from one round to the next, with --watch' -r
complete -c cache-canary -n "__fish_cache_canary_using_subcommand check" -l strict -d 'Take a degraded cache for a failure'
complete -c cache-canary -n "__fish_cache_canary_using_subcommand check" -l explain -d 'Tell what each check did, command by command, what it expected and what came back'
complete -c cache-canary -n "__fish_cache_canary_using_subcommand check" -s w -l watch -d 'Check again and again: a live table on a terminal, else a line for each change, or one of JSON a round'
complete -c cache-canary -n "__fish_cache_canary_using_subcommand check" -s h -l help -d 'Print help'
complete -c cache-canary -n "__fish_cache_canary_using_subcommand healthcheck" -l url -d 'The URL to ask' -r
complete -c cache-canary -n "__fish_cache_canary_using_subcommand healthcheck" -l socket -d 'The unix socket to ask, for /health' -r -F
complete -c cache-canary -n "__fish_cache_canary_using_subcommand healthcheck" -l ca-file -d 'Trust the certificates in this file, in PEM, and not the system\'s; for https' -r -F
complete -c cache-canary -n "__fish_cache_canary_using_subcommand healthcheck" -l cert-file -d 'The certificate to show to a server that wants one, in PEM' -r -F
complete -c cache-canary -n "__fish_cache_canary_using_subcommand healthcheck" -l key-file -d 'Its private key, in PEM' -r -F
complete -c cache-canary -n "__fish_cache_canary_using_subcommand healthcheck" -l timeout -d 'How long to wait for the whole answer' -r
complete -c cache-canary -n "__fish_cache_canary_using_subcommand healthcheck" -l insecure -d 'Take any certificate: for a server on loopback, where nobody is in between'
complete -c cache-canary -n "__fish_cache_canary_using_subcommand healthcheck" -s h -l help -d 'Print help'
complete -c cache-canary -n "__fish_cache_canary_using_subcommand config; and not __fish_seen_subcommand_from check show schema" -s h -l help -d 'Print help'
complete -c cache-canary -n "__fish_cache_canary_using_subcommand config; and not __fish_seen_subcommand_from check show schema" -f -a "check" -d 'Say whether the configuration and its certificates are valid, and which caches it has checked'
complete -c cache-canary -n "__fish_cache_canary_using_subcommand config; and not __fish_seen_subcommand_from check show schema" -f -a "show" -d 'Print what is in force, each value with where it came from, secrets as "***"'
complete -c cache-canary -n "__fish_cache_canary_using_subcommand config; and not __fish_seen_subcommand_from check show schema" -f -a "schema" -d 'Print the JSON Schema of the configuration file, for an editor'
complete -c cache-canary -n "__fish_cache_canary_using_subcommand config; and __fish_seen_subcommand_from check" -s c -l config -d 'The configuration file, in TOML; without one, the one that CACHE_CANARY_CONFIG names, or the environment alone' -r -F
complete -c cache-canary -n "__fish_cache_canary_using_subcommand config; and __fish_seen_subcommand_from check" -s h -l help -d 'Print help'
complete -c cache-canary -n "__fish_cache_canary_using_subcommand config; and __fish_seen_subcommand_from show" -s c -l config -d 'The configuration file, in TOML; without one, the one that CACHE_CANARY_CONFIG names, or the environment alone' -r -F
complete -c cache-canary -n "__fish_cache_canary_using_subcommand config; and __fish_seen_subcommand_from show" -s h -l help -d 'Print help'
complete -c cache-canary -n "__fish_cache_canary_using_subcommand config; and __fish_seen_subcommand_from schema" -s h -l help -d 'Print help'
complete -c cache-canary -n "__fish_cache_canary_using_subcommand acl" -s c -l config -d 'The configuration file, in TOML; without one, the one that CACHE_CANARY_CONFIG names, or the environment alone' -r -F
complete -c cache-canary -n "__fish_cache_canary_using_subcommand acl" -s h -l help -d 'Print help'
complete -c cache-canary -n "__fish_cache_canary_using_subcommand demo" -s l -l listen -d 'Where /health is served [default: 127.0.0.1:8080, or a free port where that is taken]' -r
complete -c cache-canary -n "__fish_cache_canary_using_subcommand demo" -l control -d 'Where the switches are [default: 127.0.0.1:8081, or a free port where that is taken]' -r
complete -c cache-canary -n "__fish_cache_canary_using_subcommand demo" -s h -l help -d 'Print help'
complete -c cache-canary -n "__fish_cache_canary_using_subcommand completions" -s h -l help -d 'Print help'
