# SPDX-License-Identifier: MIT
# bash completion of moonlet
_moonlet_runs() { moonlet runs 2>/dev/null | sed 1d | cut -d' ' -f1; }
_moonlet() {
  local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} command=${COMP_WORDS[1]-} words=
  local kept="--cwd --journal --help"
  local agents="ask brief changelog commit-message dependencies docs-drift explain fix-tests refactor review security test-gaps todos"
  local common="--cwd --output --json --yes --policy --plugin --config --quiet --verbose --no-color --help"
  compopt +o default 2>/dev/null
  COMPREPLY=()
  case $prev in
    -C | --cwd | --cd | --cassette | --record)
      mapfile -t COMPREPLY < <(compgen -d -- "$cur")
      return
      ;;
    --output | --output-format)
      words="text json stream-json"
      if [ "$command" = test ]; then words="pretty tap junit json"; fi
      mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
      return
      ;;
    --limit)
      mapfile -t COMPREPLY < <(compgen -W "steps= tool_calls= seconds= tokens= usd= handoffs=" -- "$cur")
      compopt -o nospace
      return
      ;;
    -o | --output-file | --output-schema | --config | --plugin | --journal)
      mapfile -t COMPREPLY < <(compgen -f -- "$cur")
      return
      ;;
    --unknown)
      mapfile -t COMPREPLY < <(compgen -W "ask tell retry fail" -- "$cur")
      return
      ;;
    -f | --format)
      if [ "$command" = graph ]; then mapfile -t COMPREPLY < <(compgen -W "mermaid dot svg json" -- "$cur"); fi
      return
      ;;
    --keep | --at | --input | --why | --state | --filter | --timeout) return ;;
    -m | --model | -p | --prompt | --policy | --base-url) return ;;
  esac
  if [ "$COMP_CWORD" -eq 1 ]; then
    words="run resume runs show approve deny signal fork replay cancel export import gc worktrees test tools call graph new doc doctor help --help --version"
  else
    case $command in
      run)
        words="--model --base-url --prompt --limit --output-file --output-schema --cassette --record --journal --park --snapshots --continue $common"
        if [ "$COMP_CWORD" -eq 2 ]; then
          words="$words $agents"
          compopt -o default 2>/dev/null
        fi
        ;;
      resume | fork | replay)
        words="--journal --park $common"
        case $command in
          resume) words="$words --cassette --record --due --accept-script --recorded-script --model --limit --unknown --snapshots --output-file" ;;
          fork) words="$words --cassette --record --recorded-script --at --input --worktree --model --limit --unknown --snapshots --output-file" ;;
          replay) words="$words --live-tools --recorded-script" ;;
        esac
        if [ "$COMP_CWORD" -eq 2 ]; then words="$words $(_moonlet_runs)"; fi
        ;;
      runs) words="--state --here --due --limit --output --json --check $kept" ;;
      show | approve | deny | signal | cancel | export)
        words=$kept
        case $command in
          show) words="$words --events --full" ;;
          deny) words="$words --why" ;;
        esac
        if [ "$COMP_CWORD" -eq 2 ]; then words="$words $(_moonlet_runs)"; fi
        ;;
      import) words=$kept; compopt -o default 2>/dev/null ;;
      gc) words="--keep --waiting --dry-run $kept" ;;
      test)
        words="--output --output-file --filter --update --watch --list --timeout --plugin --verbose --no-color --help"
        compopt -o default 2>/dev/null
        ;;
      worktrees)
        words="--here --json --force $kept"
        if [ "$COMP_CWORD" -eq 2 ]; then words="merge remove $words"; fi
        if [ "$COMP_CWORD" -eq 3 ]; then words="$(moonlet worktrees 2>/dev/null | grep -o '^[^ :]\+' | sort -u) $words"; fi
        ;;
      tools) words="--json --plugin --help $(moonlet tools 2>/dev/null | cut -d' ' -f1)" ;;
      call)
        words=$common
        if [ "$COMP_CWORD" -eq 2 ]; then words="$words $(moonlet tools 2>/dev/null | cut -d' ' -f1)"; fi
        ;;
      graph)
        words="--format --output-file --plugin --help"
        if [ "$COMP_CWORD" -eq 2 ]; then words="$words $agents"; fi
        compopt -o default 2>/dev/null
        ;;
      new) if [ "$COMP_CWORD" -eq 2 ]; then words="agent tool --help"; else compopt -o default 2>/dev/null; fi ;;
      doc) words="--markdown --types --help $(moonlet doc 2>/dev/null | sed -n 's/^  \([^ ]*\).*/\1/p')" ;;
      doctor) words="--json --model --cwd --config --help" ;;
      help) words="run resume runs show approve deny signal fork replay cancel export import gc worktrees test tools call graph new doc doctor" ;;
    esac
  fi
  mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
}
complete -F _moonlet moonlet
