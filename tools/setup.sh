#!/bin/sh
# Sets up .venv in this checkout: the package itself (editable), the `saga` command, and what
# `make test` and `make benchmark` need. It may write to .venv only, and to stderr only: stdout belongs to the program.
#
#   tools/setup.sh [--force] [--plots]
#                                --force makes .venv anew even where nothing changed
#                                --plots installs what draws the plots of the benchmarks as well
#   PYTHON=/path/to/python3      names the Python to use
#
# Needs Python 3.11 or newer, and one of: uv, pip 22.3 or newer, ensurepip (Debian: python3-venv).
# .venv/.setup-done names what was set up; while it says the same, there is nothing to do.
# .venv/.setup-unfinished marks a set-up under way; where one is found, .venv is made anew.
set -u
exec 1>&2

EXTRAS='desk,dev,benchmark'
OLDEST='3.11'
NAMES='python3.13 python3.12 python3.11 python3.14 python3 python' # the tested ones first
LOG_LINES=6 # of a failed installer, shown to the user
LOG_COLUMNS=200

say() { printf 'setup: %s\n' "$*"; }
stop() {
    say "$@"
    exit 1
}

force=no
plots=no
for word in "$@"; do
    case $word in
    --force) force=yes ;;
    --plots) plots=yes ;;
    *) stop "unknown argument '$word'; there are --force and --plots" ;;
    esac
done

cd "$(dirname "$0")/.." || exit 1
# A pip or Python steered elsewhere by the caller's environment would install elsewhere.
unset PYTHONPATH PYTHONHOME PIP_USER PIP_TARGET PIP_PREFIX PIP_PYTHON UV_SYSTEM_PYTHON
export PIP_RETRIES="${PIP_RETRIES:-2}" # without a network, say so soon

checkout=$(pwd -P)
venv_python=.venv/bin/python
done_stamp=.venv/.setup-done
unfinished_mark=.venv/.setup-unfinished
log=.venv/setup.log
# Whoever asked for the plots once keeps them until .venv is removed.
[ "$plots" = no ] && ! grep -qx 'plots' "$done_stamp" 2>/dev/null || EXTRAS="$EXTRAS,plots"

# Prints "3.11.2" where $1 is a Python that runs.
version_of() { "$1" -c 'import sys; print("%d.%d.%d" % sys.version_info[:3])' 2>/dev/null </dev/null; }

minor_version_of() { version_of "$1" | cut -d. -f1-2; }

is_new_enough() { # $1: 3.11.2
    major=${1%%.*}
    rest=${1#*.}
    minor=${rest%%.*}
    [ "$major" -gt "${OLDEST%%.*}" ] || { [ "$major" -eq "${OLDEST%%.*}" ] && [ "$minor" -ge "${OLDEST#*.}" ]; }
}

# What a valid stamp says: where, by which Python, from what.
stamp_now() {
    printf '%s\nPython %s\n' "$checkout" "$(minor_version_of "$venv_python")"
    cksum pyproject.toml tools/setup.sh
    case $EXTRAS in *,plots) echo plots ;; esac
}

is_done() {
    [ "$force" = no ] && [ -f "$done_stamp" ] && [ ! -e "$unfinished_mark" ] || return 1
    [ "$(stamp_now)" = "$(cat "$done_stamp")" ] || return 1
    [ -z "${PYTHON:-}" ] || [ "$(minor_version_of "$PYTHON")" = "$(minor_version_of "$venv_python")" ]
}

has_uv() { uv --version >/dev/null 2>&1; }
has_pip() { "$1" -c 'import sys, pip; sys.exit(tuple(map(int, pip.__version__.split(".")[:2])) < (22, 3))' 2>/dev/null; }
has_ensurepip() { "$1" -c 'import ensurepip' 2>/dev/null; }
has_venv() { "$1" -c 'import venv' 2>/dev/null; }
can_install() { has_venv "$1" && { has_uv || has_pip "$1" || has_ensurepip "$1"; }; }

# Sets `python` to the first Python that is new enough, one that can install before one that cannot.
find_python() {
    python=''
    seen=''
    for name in ${PYTHON:+"$PYTHON"} ${PYTHON:-$NAMES}; do
        path=$(command -v "$name" 2>/dev/null) || continue
        version=$(version_of "$path") && [ -n "$version" ] || continue
        if ! is_new_enough "$version"; then
            seen="$seen, $path is $version"
        elif can_install "$path"; then
            python=$path
            return
        else
            : "${python:=$path}"
        fi
    done
    [ -n "$python" ] && return
    seen=${seen#, }
    has_uv && return # it brings a Python of its own
    [ -z "${PYTHON:-}" ] || stop "PYTHON=$PYTHON is no Python $OLDEST or newer that runs${seen:+ ($seen)}; name another, or none."
    stop "Python $OLDEST or newer is needed; found ${seen:-none}. Debian 12 and later: sudo apt-get install -y python3 python3-pip. Or name one: make setup PYTHON=/path/to/python3"
}

# A Python without any installer: as root on Debian we add it, else we say how.
add_installer() {
    package="$(basename "$(readlink -f "$python")")-venv"
    line="apt-get install -y $package"
    if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
        say "$python has neither pip nor ensurepip: $line"
        { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$package"; } >"$log" 2>&1 </dev/null
        can_install "$python" && return
        show_log
    fi
    stop "$python has no way to install packages (no pip 22.3 or newer, no ensurepip, no uv). Debian: sudo $line"
}

# The end of the log, without the frame that pip draws around a failed build.
show_log() {
    grep -vE '^[[:space:]]*$|^ *[×│╰]|note: This error|subprocess-exited-with-error|\[end of output\]' "$log" |
        tail -n "$LOG_LINES" | cut -c "1-$LOG_COLUMNS" | sed 's/^ */  | /'
}

make_venv() {
    rm -rf .venv 2>/dev/null || stop "cannot remove the old $checkout/.venv; remove it by hand."
    mkdir .venv && touch "$unfinished_mark" || stop "cannot make $checkout/.venv."
    if [ -n "$python" ]; then
        say "[1/3] Python $(version_of "$python") ($python)"
        can_install "$python" || add_installer
        say "[2/3] making .venv"
        "$python" -m venv --without-pip .venv >"$log" 2>&1 && return
    else
        say "[1/3] no Python $OLDEST here (${seen:-none found}); uv brings one"
        say "[2/3] making .venv"
        uv venv --quiet --allow-existing --python ">=$OLDEST" .venv >"$log" 2>&1 </dev/null && touch "$unfinished_mark" && return
    fi
    explain_failure "making .venv"
}

explain_failure() { # $1: what failed
    if grep -qiE 'no space left|quota exceeded' "$log"; then
        reason='the disk is full.'
    elif grep -qiE 'permission denied|read-only file system' "$log"; then
        reason="a file cannot be written by $(id -un)."
    elif grep -qiE 'connection (error|refused|reset|aborted)|NewConnectionError|ConnectTimeout|ReadTimeout|timed out|name resolution|dns error|unreachable|error sending request|proxyerror|SSLError|CERTIFICATE_VERIFY_FAILED|from versions: none|offline|network connectivity' "$log"; then
        reason='the package index cannot be reached: is there a network, or a proxy or mirror to set (PIP_INDEX_URL)?'
    else
        reason='the installer stopped.'
    fi
    say "$1 failed: $reason The last lines of $checkout/$log:"
    show_log
    stop "nothing is lost; run the same command again when this is mended."
}

install_with_uv() { uv pip install --quiet --python "$venv_python" --editable ".[$EXTRAS]" >>"$log" 2>&1 </dev/null; }

install_with_pip() {
    set -- install --no-input --progress-bar off --disable-pip-version-check --editable ".[$EXTRAS]"
    if has_pip "$venv_python"; then
        "$venv_python" -m pip "$@" >>"$log" 2>&1 </dev/null
    elif [ -n "$python" ] && has_pip "$python"; then
        "$python" -m pip --python "$venv_python" "$@" >>"$log" 2>&1 </dev/null
    elif "$venv_python" -m ensurepip --default-pip >>"$log" 2>&1; then
        "$venv_python" -m pip "$@" >>"$log" 2>&1 </dev/null
    else
        return 1
    fi
}

install_packages() {
    : >"$log"
    if has_uv; then
        say "[3/3] installing trade-saga and its tools with uv (the first time takes a minute)"
        install_with_uv && return
        say "uv could not install them; trying pip"
    else
        say "[3/3] installing trade-saga and its tools with pip (the first time takes a minute)"
    fi
    install_with_pip || explain_failure "installing"
}

is_done && exit 0
# Two at once would trip over each other. The lock goes with this process, however that ends.
if command -v flock >/dev/null; then
    exec 9<pyproject.toml
    flock -n 9 || { say "another set-up of this checkout is running; waiting for it" && flock 9; }
    is_done && exit 0
fi
trap 'say "interrupted; the next run starts afresh"; exit 130' INT TERM HUP

for folder in . .venv .venv/lib; do
    [ ! -e "$folder" ] || [ -w "$folder" ] || stop "$(id -un) may not write to $checkout/$folder; use a checkout of your own, or run this as its owner ($(stat -c %U "$folder" 2>/dev/null || echo root))."
done
find_python
venv_version=$(minor_version_of "$venv_python")
moved=no
[ ! -f "$done_stamp" ] || [ "$(head -n 1 "$done_stamp")" = "$checkout" ] || moved=yes
if [ "$force" = yes ] || [ "$moved" = yes ] || [ -e "$unfinished_mark" ] ||
    [ -z "$venv_version" ] || ! is_new_enough "$venv_version" ||
    { [ -n "${PYTHON:-}" ] && [ "$venv_version" != "$(minor_version_of "$PYTHON")" ]; }; then
    make_venv
else
    say "pyproject.toml or what is asked for changed, or .venv was made by hand: bringing it up to date"
    touch "$unfinished_mark" || stop "cannot write to $checkout/.venv."
fi
install_packages
stamp_now >"$done_stamp.new" && mv "$done_stamp.new" "$done_stamp" && rm -f "$unfinished_mark"
say "ready: $checkout/.venv, Python $(version_of "$venv_python")"
