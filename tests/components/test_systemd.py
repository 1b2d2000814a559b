"""Unit files: lossless as text, and read as systemd reads them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubeharden.components.commands import quote
from kubeharden.components.environment_files import parse_environment_file
from kubeharden.components.shells import unwrap
from kubeharden.components.units import Service, Unit
from kubeharden.errors import UnitError
from written_units import split_command, with_command

UNIT = """\
# A comment that stays.
[Unit]
Description=Kubernetes Kubelet
After=docker.service

[Service]
; another one
X-Unknown=kept
ExecStart=/usr/bin/kubelet \\
  --address=0.0.0.0 \\
# systemd skips this line
  --v=2
Restart=always

[Install]
WantedBy=multi-user.target
"""


def service(*texts: str, env: dict[str, str] | None = None) -> Service:
    return Service(tuple((f"/u{i}", Unit.parse(text)) for i, text in enumerate(texts)), env or {})


@given(st.text(alphabet=st.sampled_from("[]=\\\n #;aU\"'$%"), max_size=80))
def test_any_text_survives_parsing(text: str) -> None:
    assert Unit.parse(text).text == text


@given(st.lists(st.text(alphabet=st.characters(min_codepoint=32, max_codepoint=126), min_size=1), min_size=1))
def test_any_command_survives_the_unit(words: list[str]) -> None:
    command = ["/usr/bin/kubelet", *words]
    unit = with_command(Unit.parse(UNIT), command)
    assert service(unit.text).values("Service", "ExecStart")
    assert split_command(service(unit.text).values("Service", "ExecStart")[0], {}) == command


def test_a_new_command_leaves_everything_else_in_place() -> None:
    changed = with_command(Unit.parse(UNIT), ["/usr/bin/kubelet", "--config=/c"])
    assert changed.text == UNIT.replace(
        "  --address=0.0.0.0 \\\n# systemd skips this line\n  --v=2\n", "  --config=/c\n"
    )


def test_settings_go_first_in_their_section_or_in_place() -> None:
    unit = Unit.parse(UNIT).with_service_setting("Group", "root").with_service_setting("User", "root")
    assert "[Service]\nUser=root\nGroup=root\n; another one\n" in unit.text
    assert "Restart=no\n" in unit.with_service_setting("Restart", "no").text


def test_continuation_lines_and_comments_between_them() -> None:
    assert service(UNIT).argv() == ["/usr/bin/kubelet", "--address=0.0.0.0", "--v=2"]


def test_drop_ins_reset_and_win_in_their_order() -> None:
    loaded = service(UNIT, "[Service]\nExecStart=\nExecStart=/usr/bin/kubelet --v=5\n", "[Unit]\nAfter=x\n")
    assert loaded.argv() == ["/usr/bin/kubelet", "--v=5"]
    assert loaded.command_file() == "/u1"


def test_two_commands_are_refused() -> None:
    with pytest.raises(UnitError, match="2 commands are in force in ExecStart="):
        service(UNIT, "[Service]\nExecStart=/usr/bin/kubelet\n").argv()


def test_variables_split_only_without_braces() -> None:
    env = {"ARGS": "--a=1 --b=2", "ONE": "x y"}
    assert split_command("k $ARGS --c=${ONE} $UNSET ${UNSET}end $$HOME", env) == [
        "k", "--a=1", "--b=2", "--c=x y", "end", "$HOME",
    ]  # fmt: skip


def test_environment_files_win_and_a_dash_makes_them_optional() -> None:
    files = "EnvironmentFile=-/none\nEnvironmentFile=/env\n"
    text = f'[Service]\nEnvironment=A=1 "B=2 3"\n{files}ExecStart=k $A ${{B}}\n'
    assert service(text, env={"/env": "# c\nA='7 8'\n"}).argv() == ["k", "7", "8", "2 3"]
    with pytest.raises(UnitError, match="/env does not exist"):
        service(text).argv()


def test_environment_file_syntax() -> None:
    assert parse_environment_file('A=1\n;c\nB="x y"\nC=a\\\nb\n\nnonsense\n') == {
        "A": "1",
        "B": "x y",
        "C": "ab",
    }


def test_quotes_escapes_and_percent() -> None:
    assert split_command(r"""k "a b" 'c"d' e\x20f --p=100%%""".replace(r"\x20", r"\s"), {}) == [
        "k", "a b", 'c"d', "e f", "--p=100%",
    ]  # fmt: skip


def test_what_cannot_be_read_is_refused() -> None:
    with pytest.raises(UnitError, match="a quote that is not closed"):
        split_command("k 'open", {})


@pytest.mark.parametrize(
    ("text", "env", "why"),
    [
        ("EnvironmentFile=/none\nExecStart=k $A", "", "/none does not exist"),
        ("EnvironmentFile=/none*\nExecStart=k $A", "", r"/none\* does not exist"),
        ("EnvironmentFile=/%H\nExecStart=k $A", "", "/%H does not exist"),
    ],
)
def test_variables_that_cannot_be_read_are_refused(text: str, env: str, why: str) -> None:
    with pytest.raises(UnitError, match=why):
        service(f"[Service]\n{text}\n", env={"/env": env}).argv()


def test_a_wrapping_shell_is_taken_off() -> None:
    assert unwrap(["/bin/sh", "-c", "exec /usr/bin/kubelet --a='b c'"]) == ["/usr/bin/kubelet", "--a=b c"]
    assert unwrap(["/bin/bash", "-c", "kubelet"]) == ["kubelet"]
    assert unwrap(["/bin/sh", "script"]) == ["/bin/sh", "script"]


def test_what_a_shell_leaves_alone_in_quotes_is_no_second_command() -> None:
    line = r"""exec kubelet --eviction-hard="memory.available<1Gi;x" --a='$b|c' --d=\& --e="f\"g" """
    assert unwrap(["/bin/sh", "-c", line]) == [
        "kubelet", "--eviction-hard=memory.available<1Gi;x", "--a=$b|c", "--d=&", '--e=f"g',
    ]  # fmt: skip


@pytest.mark.parametrize(
    "line",
    [
        "sleep 1; kubelet",
        "kubelet | tee /log",
        "kubelet --v=2 2>/log",
        "kubelet --a=$(hostname)",
        'kubelet --a="$HOST"',
        'kubelet --a="`hostname`"',
        r'kubelet --a="\$HOST"',
        "kubelet --a=\\\n--b",
        "exec",
        "kubelet\nkubelet",
        "exec -a k kubelet",
        "kubelet --v=2 # more later",
        "",
    ],
)
def test_a_shell_line_that_is_more_than_a_command_is_refused(line: str) -> None:
    with pytest.raises(UnitError, match="more than one simple command"):
        unwrap(["/bin/sh", "-c", line])


def test_a_shell_line_with_an_open_quote_is_refused() -> None:
    with pytest.raises(UnitError, match="cannot be read: No closing quotation"):
        unwrap(["/bin/sh", "-c", "kubelet --a='b"])


def test_prefixes_of_the_executable_are_no_part_of_it() -> None:
    assert split_command("-/usr/bin/kubelet --a", {}) == ["/usr/bin/kubelet", "--a"]


@given(st.text(min_size=1).filter(lambda t: "\x00" not in t and "\r" not in t))
def test_a_quoted_word_is_read_back(word: str) -> None:
    assert split_command(f"k {quote(word)}", {}) == ["k", word]
