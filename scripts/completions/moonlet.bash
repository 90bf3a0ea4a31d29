# SPDX-License-Identifier: MIT
# bash completion of moonlet
_moonlet() {
  local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} command=${COMP_WORDS[1]-} words=
  local common="--cwd --output --json --yes --policy --plugin --config --quiet --verbose --no-color --help"
  compopt +o default 2>/dev/null
  COMPREPLY=()
  case $prev in
    -C | --cwd | --cd)
      mapfile -t COMPREPLY < <(compgen -d -- "$cur")
      return
      ;;
    --output | --output-format)
      mapfile -t COMPREPLY < <(compgen -W "text json stream-json" -- "$cur")
      return
      ;;
    --limit)
      mapfile -t COMPREPLY < <(compgen -W "steps= tool_calls= seconds= tokens= usd=" -- "$cur")
      compopt -o nospace
      return
      ;;
    -o | --output-file | --output-schema | --config | --plugin | --journal)
      mapfile -t COMPREPLY < <(compgen -f -- "$cur")
      return
      ;;
    -m | --model | -p | --prompt | --policy | --base-url) return ;;
  esac
  if [ "$COMP_CWORD" -eq 1 ]; then
    words="run tools call new doctor help --help --version"
  else
    case $command in
      run)
        words="--model --base-url --prompt --limit --output-file --output-schema --journal --park $common"
        if [ "$COMP_CWORD" -eq 2 ]; then
          words="$words brief changelog"
          compopt -o default 2>/dev/null
        fi
        ;;
      tools) words="--json --plugin --help $(moonlet tools 2>/dev/null | cut -d' ' -f1)" ;;
      call)
        words=$common
        if [ "$COMP_CWORD" -eq 2 ]; then words="$words $(moonlet tools 2>/dev/null | cut -d' ' -f1)"; fi
        ;;
      new) if [ "$COMP_CWORD" -eq 2 ]; then words="agent tool --help"; else compopt -o default 2>/dev/null; fi ;;
      doctor) words="--json --model --cwd --config --help" ;;
      help) words="run tools call new doctor" ;;
    esac
  fi
  mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
}
complete -F _moonlet moonlet
