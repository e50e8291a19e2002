# completion.bash - completion of `mailshelf` for bash: verbs, options, accounts, files
#
# Verbs and options come from `mailshelf help --words`, so this file knows none. Names of accounts are offered where the
# store can be read: -s STORE on the line, or MAILSHELF_STORE.

_mailshelf() {
	local cur=${COMP_WORDS[COMP_CWORD]} store=${MAILSHELF_STORE:-} i line verb="" words=() options=""
	COMPREPLY=()
	for ((i = 1; i < COMP_CWORD; i++)); do
		case ${COMP_WORDS[i]} in
		-s | --store)
			store=${COMP_WORDS[++i]-}
			;;
		-*) ;;
		*) words+=("${COMP_WORDS[i]}") ;;
		esac
	done
	case ${COMP_WORDS[COMP_CWORD - 1]} in
	-s | --store)
		mapfile -t COMPREPLY < <(compgen -d -- "$cur")
		return
		;;
	esac

	# The longest verb that the words so far begin with, and the words that may come next of longer ones.
	local next=() known
	while read -r line; do
		known=${line%% --*}
		case "${words[*]} " in
		"$known "*)
			if [ ${#known} -gt ${#verb} ]; then
				verb=$known
				options=${line#"$known"}
			fi
			;;
		esac
		case "$known " in
		"${words[*]:+${words[*]} }"*)
			known=${known#"${words[*]}"}
			known=${known# }
			next+=("${known%% *}")
			;;
		esac
	done < <("${COMP_WORDS[0]}" help --words 2>/dev/null)

	if [[ $cur == -* ]]; then
		mapfile -t COMPREPLY < <(compgen -W "$options -s --json --help" -- "$cur")
		COMPREPLY=("${COMPREPLY[@]%=}")
		return
	fi
	mapfile -t COMPREPLY < <(compgen -W "${next[*]}" -- "$cur")
	[ -n "$verb" ] || return
	if [ -n "$store" ]; then
		mapfile -t -O "${#COMPREPLY[@]}" COMPREPLY < <(compgen -W \
			"$("${COMP_WORDS[0]}" -s "$store" account list 2>/dev/null | cut -d ' ' -f 1)" -- "$cur")
	fi
	mapfile -t -O "${#COMPREPLY[@]}" COMPREPLY < <(compgen -f -- "$cur")
}
complete -F _mailshelf mailshelf
