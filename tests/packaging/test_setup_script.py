"""`make` and tools/setup.sh: they set up .venv by themselves, and say plainly where they cannot.

Each test plays a small machine: a folder of commands that is the whole PATH, a copy of the scripts
in a folder with a space in its name, and no package index.
"""

import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

SYSTEM_COMMANDS = [
    "basename",
    "cat",
    "chmod",
    "cksum",
    "cut",
    "dirname",
    "expand",
    "flock",
    "grep",
    "head",
    "id",
    "make",
    "mkdir",
    "mv",
    "readlink",
    "rm",
    "sed",
    "sh",
    "stat",
    "tail",
    "touch",
]

CLOSED_PORT = "http://127.0.0.1:9/simple"  # nothing listens on the discard port

UV_THAT_INSTALLS = """#!/bin/sh
printf '%s\\n' "$*" >>"$UV_CALLS"
case $* in *install*) ;; *) exit 0 ;; esac
printf '#!/bin/sh\\nprintf "%%s\\\\n" "$@"\\n' >.venv/bin/saga
chmod +x .venv/bin/saga
"""

UV_THAT_IS_KILLED = """#!/bin/sh
case $* in *install*) echo half >.venv/half-installed; kill -KILL $PPID ;; esac
"""


def _base_python() -> Path:
    """The Python that the virtual environment of this run was made from."""
    return Path(sys.base_prefix, "bin", f"python{sys.version_info.major}.{sys.version_info.minor}")


@dataclass(frozen=True)
class Machine:
    """A machine with only the commands that a test puts there."""

    commands: Path
    checkout: Path

    def has(self, name: str, script: str) -> None:
        command = self.commands / name
        command.unlink(missing_ok=True)
        command.write_text(script, encoding="utf-8")
        command.chmod(0o755)

    def has_python(self) -> None:
        self.has("python3", f'#!/bin/sh\nexec "{_base_python()}" "$@"\n')

    @property
    def venv(self) -> Path:
        return self.checkout / ".venv"

    @property
    def uv_calls(self) -> list[str]:
        calls = self.commands / "uv-calls"
        lines = calls.read_text(encoding="utf-8").splitlines() if calls.exists() else []
        return [line for line in lines if "install" in line]

    def run(self, *command: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [str(self.commands / command[0]), *command[1:]],
            cwd=self.checkout,
            env={
                "PATH": str(self.commands),
                "HOME": str(self.commands),
                "UV_CALLS": str(self.commands / "uv-calls"),
                "PIP_CONFIG_FILE": os.devnull,
                "PIP_INDEX_URL": CLOSED_PORT,
                "PIP_RETRIES": "0",
                **environment,
            },
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )


@pytest.fixture
def machine(tmp_path: Path, checkout: Path) -> Machine:
    """A machine without any Python, and the project's scripts in a folder with a space."""
    commands = tmp_path / "bin"
    commands.mkdir()
    for name in SYSTEM_COMMANDS:
        found = shutil.which(name)
        if found:
            (commands / name).symlink_to(found)
    copy = tmp_path / "a folder" / "trade saga"
    (copy / "tools").mkdir(parents=True)
    for file in ("Makefile", "pyproject.toml", "tools/setup.sh"):
        shutil.copy(checkout / file, copy / file)
    return Machine(commands, copy)


def test_the_second_run_has_nothing_to_do(machine: Machine) -> None:
    machine.has_python()
    machine.has("uv", UV_THAT_INSTALLS)
    first = machine.run("make", "setup")
    second = machine.run("make", "setup")
    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    assert "ready" in first.stderr
    assert (second.stdout, second.stderr) == ("", "")
    assert len(machine.uv_calls) == 1


@pytest.mark.parametrize("changed", ["pyproject.toml", "tools/setup.sh"])
def test_a_change_in_what_is_needed_is_installed_into_the_same_environment(
    machine: Machine, changed: str
) -> None:
    machine.has_python()
    machine.has("uv", UV_THAT_INSTALLS)
    machine.run("make", "setup")
    (machine.venv / "kept").touch()
    with (machine.checkout / changed).open("a", encoding="utf-8") as file:
        file.write("# another line\n")
    again = machine.run("make", "setup")
    assert again.returncode == 0, again.stderr
    assert len(machine.uv_calls) == 2
    assert (machine.venv / "kept").exists()


def test_what_draws_the_plots_is_installed_where_it_is_asked_for_and_kept_from_then_on(
    machine: Machine,
) -> None:
    machine.has_python()
    machine.has("uv", UV_THAT_INSTALLS)
    machine.run("make", "setup")
    asked = machine.run("make", "setup", "ARGS=--plots")
    again = machine.run("make", "setup")
    assert (asked.returncode, again.returncode) == (0, 0), asked.stderr + again.stderr
    assert again.stderr == ""
    with (machine.checkout / "pyproject.toml").open("a", encoding="utf-8") as file:
        file.write("# another line\n")
    machine.run("make", "setup")
    assert [line.endswith(",plots]") for line in machine.uv_calls] == [False, True, True]


def test_a_checkout_that_was_moved_gets_a_new_environment(machine: Machine) -> None:
    machine.has_python()
    machine.has("uv", UV_THAT_INSTALLS)
    machine.run("make", "setup")
    (machine.venv / "old").touch()
    moved = Machine(machine.commands, machine.checkout.rename(machine.checkout.parent / "moved"))
    again = moved.run("make", "setup")
    assert again.returncode == 0, again.stderr
    assert not (moved.venv / "old").exists()


def test_a_set_up_that_was_killed_heals_on_the_next_run(machine: Machine) -> None:
    machine.has_python()
    machine.has("uv", UV_THAT_IS_KILLED)
    killed = machine.run("sh", "tools/setup.sh")
    assert killed.returncode == -signal.SIGKILL
    assert (machine.venv / "half-installed").exists()

    machine.has("uv", UV_THAT_INSTALLS)
    healed = machine.run("sh", "tools/setup.sh")
    assert healed.returncode == 0, healed.stderr
    assert not (machine.venv / "half-installed").exists()


def test_arguments_reach_the_command_and_stdout_is_the_commands_alone(machine: Machine) -> None:
    machine.has_python()
    machine.has("uv", UV_THAT_INSTALLS)
    done = machine.run("make", "demo", "ARGS=--json --seed '1 2'")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["demo", "--json", "--seed", "1 2"]
    assert "ready" in done.stderr


def test_make_runs_from_another_folder(machine: Machine) -> None:
    machine.has_python()
    machine.has("uv", UV_THAT_INSTALLS)
    elsewhere = Machine(machine.commands, machine.commands)
    done = elsewhere.run("make", "-sC", str(machine.checkout), "demo", "ARGS=--json")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["demo", "--json"]


def test_a_program_that_fails_makes_make_fail(machine: Machine) -> None:
    machine.has_python()
    machine.has("uv", UV_THAT_INSTALLS)
    machine.run("make", "setup")
    (machine.venv / "bin" / "saga").write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    assert machine.run("make", "demo").returncode != 0


def test_too_old_a_python_is_named_with_what_is_needed(machine: Machine) -> None:
    machine.has("python3", "#!/bin/sh\necho 3.9.2\n")
    done = machine.run("make", "demo")
    assert done.returncode != 0
    assert done.stdout == ""
    assert "Python 3.11 or newer is needed" in done.stderr
    assert "python3 is 3.9.2" in done.stderr
    assert "apt-get install" in done.stderr


def test_no_python_at_all_is_said(machine: Machine) -> None:
    done = machine.run("make", "setup")
    assert done.returncode != 0
    assert "Python 3.11 or newer is needed; found none" in done.stderr


def test_a_python_that_cannot_install_names_the_package_to_add(machine: Machine) -> None:
    machine.has("python3", "#!/bin/sh\ncase $2 in *version*) echo 3.12.1 ;; *) exit 1 ;; esac\n")
    done = machine.run("make", "setup")
    assert done.returncode != 0
    assert "no way to install packages" in done.stderr
    assert "apt-get install -y python3-venv" in done.stderr


def test_an_index_out_of_reach_is_one_sentence_and_the_end_of_the_log(machine: Machine) -> None:
    machine.has_python()
    done = machine.run("make", "setup")
    assert done.returncode != 0
    assert done.stdout == ""
    said = [line for line in done.stderr.splitlines() if line.startswith("setup: ")]
    assert sum("the package index cannot be reached" in line for line in said) == 1
    assert len(done.stderr.splitlines()) < 20
    assert "Traceback" not in done.stderr


def test_an_unknown_argument_is_refused_before_anything_is_made(machine: Machine) -> None:
    machine.has_python()
    done = machine.run("make", "setup", "ARGS=--fast")
    assert done.returncode != 0
    assert "unknown argument '--fast'" in done.stderr
    assert not machine.venv.exists()


def test_help_lists_every_target(machine: Machine) -> None:
    makefile = (machine.checkout / "Makefile").read_text(encoding="utf-8").splitlines()
    (phony,) = (line for line in makefile if line.startswith(".PHONY: help"))
    listed = {line.split()[1] for line in machine.run("make").stdout.splitlines()}
    assert listed == set(phony.split()[1:])
