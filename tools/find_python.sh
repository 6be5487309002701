# Prints the Python that .venv is to be made with: $PYTHON if it is set, else the first one here that will do.
# Where none will do, says what to install and exits 1. POSIX sh, since there may be no Python to run at all.

floor=3.11

# Runs on any Python, 2 included. "old": below the floor. "bare": Debian's, without the package that makes a venv.
probe='
import sys
version = "%d.%d.%d" % sys.version_info[:3]
if sys.version_info[:2] < tuple(int(n) for n in sys.argv[1].split(".")):
    print("old " + version)
else:
    try:
        import ensurepip, venv
        print("ok " + version)
    except ImportError:
        print("bare " + version)
'

say() { printf '%s\n' "$@" >&2; }

old='' bare=''
if [ -n "${PYTHON:-}" ]; then
  set -- "$PYTHON"
else
  set -- python3 python3.14 python3.13 python3.12 python3.11 python
fi
for candidate in "$@"; do
  answer=$("$candidate" -c "$probe" "$floor" 2>/dev/null) || continue
  case $answer in
    ok*) command -v "$candidate"; exit 0 ;;
    old*) old="${old:+$old, }$candidate is ${answer#old }" ;;
    bare*) bare=${bare:-${answer#bare }} ;;
  esac
done

if [ -n "$bare" ]; then
  minor=${bare%.*}
  say "Python $bare is here, but it cannot make a virtual environment: its ensurepip module is missing." \
    "Debian and Ubuntu keep it in a package of its own. Install that, then run the same command again:" \
    "  sudo apt-get install python$minor-venv"
elif [ -n "${PYTHON:-}" ] && [ -z "$old" ]; then
  say "PYTHON=$PYTHON does not run. It must name a Python $floor or newer, or be left out."
else
  say "This course needs Python $floor or newer. ${old:-No Python was found on the PATH}."
  say "Install one, then run the same command again:" \
    "  Debian 12+, Ubuntu 24.04+  sudo apt-get install python3 python3-venv" \
    "  Ubuntu 22.04               sudo apt-get install python3.11 python3.11-venv" \
    "  Fedora                     sudo dnf install python3" \
    "  macOS                      brew install python" \
    "  conda, Windows             conda env create -f environment.yml" \
    "One that is not on the PATH can be named: make PYTHON=/path/to/python$floor ..."
fi
exit 1
