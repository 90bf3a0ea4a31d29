# SPDX-License-Identifier: MIT
# fish completion of moonlet
set -l commands run tools call new doctor help
complete -c moonlet -f
complete -c moonlet -n "not __fish_seen_subcommand_from $commands" -a run -d "run an agent"
complete -c moonlet -n "not __fish_seen_subcommand_from $commands" -a tools -d "list the tools"
complete -c moonlet -n "not __fish_seen_subcommand_from $commands" -a call -d "call one tool"
complete -c moonlet -n "not __fish_seen_subcommand_from $commands" -a new -d "write an agent or a plugin project"
complete -c moonlet -n "not __fish_seen_subcommand_from $commands" -a doctor -d "what is found here"
complete -c moonlet -n "not __fish_seen_subcommand_from $commands" -a help -d "the help of a command"
complete -c moonlet -n "not __fish_seen_subcommand_from $commands" -s V -l version -d "version"
complete -c moonlet -s h -l help -d "help"

complete -c moonlet -n "__fish_seen_subcommand_from run" -F -a "brief changelog"
complete -c moonlet -n "__fish_seen_subcommand_from run" -s m -l model -x -d "the model"
complete -c moonlet -n "__fish_seen_subcommand_from run" -l base-url -x -d "server of custom/NAME"
complete -c moonlet -n "__fish_seen_subcommand_from run" -s p -l prompt -x -d "the input"
complete -c moonlet -n "__fish_seen_subcommand_from run" -l limit -x -a "steps= tool_calls= seconds= tokens= usd=" -d "a limit"
complete -c moonlet -n "__fish_seen_subcommand_from run" -s o -l output-file -r -d "write the last message to a file"
complete -c moonlet -n "__fish_seen_subcommand_from run" -l output-schema -r -d "JSON Schema of the answer"
complete -c moonlet -n "__fish_seen_subcommand_from run" -l journal -r -d "where runs are kept"
complete -c moonlet -n "__fish_seen_subcommand_from run" -l park -d "end when it only waits"

complete -c moonlet -n "__fish_seen_subcommand_from call tools" -a "(moonlet tools 2>/dev/null | string split -f1 ' ')"
complete -c moonlet -n "__fish_seen_subcommand_from run call doctor" -s C -l cwd -x -a "(__fish_complete_directories)" -d "the directory that tools work in"
complete -c moonlet -n "__fish_seen_subcommand_from run call" -l output -x -a "text json stream-json" -d "the format of standard output"
complete -c moonlet -n "__fish_seen_subcommand_from run call tools doctor" -l json -d "JSON"
complete -c moonlet -n "__fish_seen_subcommand_from run call" -s y -l yes -d "allow what would be asked for"
complete -c moonlet -n "__fish_seen_subcommand_from run call" -l policy -x -d "TOOL=allow, ask or deny"
complete -c moonlet -n "__fish_seen_subcommand_from run call tools" -l plugin -r -d "load a plugin"
complete -c moonlet -n "__fish_seen_subcommand_from run call doctor" -l config -r -d "the configuration of the user"
complete -c moonlet -n "__fish_seen_subcommand_from run call" -s q -l quiet -d "errors only"
complete -c moonlet -n "__fish_seen_subcommand_from run call" -s v -l verbose -d "progress and streamed text"
complete -c moonlet -n "__fish_seen_subcommand_from run call" -l no-color -d "no colours"

complete -c moonlet -n "__fish_seen_subcommand_from new" -a "agent tool"
complete -c moonlet -n "__fish_seen_subcommand_from help" -a "run tools call new doctor"
complete -c moonlet -n "__fish_seen_subcommand_from doctor" -s m -l model -x -d "a model"
