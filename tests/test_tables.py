"""Tables, checked against their full text."""

import math
import subprocess
import sys

import pytest
from rich.cells import cell_len

from promptfuse.tables import Spread, Table


def plain(table: Table, width: int = 100) -> str:
    """Return a table's text without its rule."""
    lines = table.text(width=width).split("\n")
    return "\n".join(line for line in lines if not line or set(line) != {"─"})


def test_spread_is_the_mean_and_the_sample_standard_deviation() -> None:
    spread = Spread.of([1.0, 2.0, 4.0])
    assert spread.mean == pytest.approx(7 / 3)
    # deviations −4/3, −1/3, 5/3: squares 16/9 + 1/9 + 25/9 = 42/9, over n − 1 = 2.
    assert spread.std == pytest.approx(math.sqrt(21 / 9))
    assert spread.count == 3
    assert spread.text() == "2.33 ± 1.53"
    assert spread.text(decimals=1) == "2.3 ± 1.5"


def test_one_seed_shows_no_deviation() -> None:
    assert Spread.of([5.0]) == Spread(mean=5.0, std=None, count=1)
    assert Spread.of([5.0]).text() == "5.00"


def test_equal_seeds_show_a_deviation_of_zero() -> None:
    assert Spread.of([5.0, 5.0]).text() == "5.00 ± 0.00"


def test_spread_of_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least one data point"):
        Spread.of([])


def test_text_aligns_numbers_right_and_words_left() -> None:
    table = Table("sizes", ["field", "rows", "MB"], [["pooler", 7, 1.5], ["cls", 1200, None]])
    assert table.text().split("\n") == [
        "sizes",
        "field   rows    MB",
        "──────────────────",
        "pooler     7  1.50",
        "cls     1200     –",
    ]


def test_a_table_without_rows_shows_its_header() -> None:
    assert Table("none yet", ["a", "bc"], []).text() == "none yet\na  bc\n─────"


def test_nan_is_a_dash_and_booleans_are_words() -> None:
    table = Table("", ["a", "b"], [[math.nan, True], [1.0, False]])
    assert plain(table).split("\n") == ["   a  b", "   –  True", "1.00  False"]


def test_decimals_apply_to_floats_and_spreads_but_not_to_integers() -> None:
    table = Table("", ["a", "b", "c"], [[1.25, Spread(2.0, 0.5, 3), 4]], decimals=1)
    assert plain(table).split("\n")[1] == "1.2  2.0 ± 0.5  4"


def test_markdown_has_an_alignment_row_and_escapes_bars() -> None:
    table = Table("t", ["name", "n"], [["a|b\\", 1]])
    assert table.markdown() == "**t**\n\n| name | n |\n| --- | ---: |\n| a\\|b\\\\ | 1 |"
    assert Table("", ["n"], [[1]]).markdown() == "| n |\n| ---: |\n| 1 |"


def test_spreads_are_shown_with_their_deviation_and_what_is_missing_as_a_dash() -> None:
    rows = [["promptfuse", Spread.of([60.0, 63.0]), 2], ["noprompt", None, 1]]
    assert Table("demo", ["method", "overall", "seeds"], rows).text().split("\n") == [
        "demo",
        "method           overall  seeds",
        "───────────────────────────────",
        "promptfuse  61.50 ± 2.12      2",
        "noprompt               –      1",
    ]


@pytest.mark.parametrize("width", [100, 60, 40])
def test_every_line_fits_and_no_character_is_lost(width: int) -> None:
    path = "utterances_final/" + "very_long_name_" * 12 + "end.mp4"
    reason = "damaged in the middle: decoding stopped " * 5
    table = Table("failures", ["path", "reason", "count"], [[path, reason.strip(), 12345]])
    lines = table.text(width=width).split("\n")
    assert max(map(cell_len, lines)) <= width
    shown = "".join(lines[3:]).replace(" ", "")
    assert sorted(shown) == sorted(f"{path}{reason}12345".replace(" ", ""))
    assert lines[3].endswith("12345")  # numbers stay whole while words can wrap


def test_words_are_not_split_while_they_fit() -> None:
    table = Table("", ["what"], [["alpha beta gamma delta"]])
    lines = plain(table, 12).split("\n")
    assert lines == ["what", "alpha beta", "gamma delta"]


def test_words_wrap_before_numbers_do() -> None:
    words, figure = "one two three four five", Spread(123456.0, 123456.0, 3)  # 23 and 21 wide
    lines = plain(Table("", ["w", "n"], [[words, figure]]), 38).split("\n")
    assert lines[1:] == ["one two three    123456.00 ± 123456.00", "four five"]  # 15 + 2 + 21


def test_many_number_columns_wrap_rather_than_overflow() -> None:
    table = Table("", [f"column{i}" for i in range(12)], [[Spread(50.0, 1.0, 3)] * 12])
    assert max(map(cell_len, table.text(width=100).split("\n"))) <= 100


def test_wide_and_combining_characters_keep_columns_aligned() -> None:
    assert cell_len("猫") == 2
    assert cell_len("e\u0301") == 1
    table = Table("", ["w", "n"], [["猫猫", 1], ["cat", 2], ["e\u0301", 3]])
    lines = plain(table).split("\n")
    assert {cell_len(line) for line in lines} == {7}


@pytest.mark.parametrize(
    ("name", "shown"), [("a\nb", "a\\nb"), ("\x1b[31m", "\\x1b[31m"), ("\u202ecod", "\\u202ecod")]
)
def test_control_characters_are_spelled_out(name: str, shown: str) -> None:
    table = Table("", ["x"], [[name]])
    assert plain(table) == f"x\n{shown}"


def test_a_row_of_the_wrong_length_is_named() -> None:
    with pytest.raises(ValueError, match="row 1 of table 't' has 1 cells for 2 columns"):
        Table("t", ["a", "b"], [[1, 2], [3]])


def test_columns_keep_their_dash_when_every_cell_is_missing() -> None:
    assert plain(Table("", ["a"], [[None]])) == "a\n–"


def test_importing_tables_loads_nothing_heavy() -> None:
    program = (
        "import sys; import promptfuse.tables;"
        "print([m for m in ('torch', 'numpy', 'typer', 'rich') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert done.stdout.decode().strip() == "[]"


def test_a_table_fits_the_terminal_and_has_no_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    table = Table("words", ["said"], [["one two three four five six"]])
    monkeypatch.setenv("COLUMNS", "20")
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert table.text().split("\n")[3:] == ["one two three four", "five six"]
    monkeypatch.delenv("COLUMNS")
    assert table.text().split("\n")[3:] == ["one two three four five six"]


def test_brackets_are_no_markup() -> None:
    lines = Table("[b]t[/b] :smile:", ["a"], [["[red]x[/red] :cat:"]]).text().split("\n")
    assert (lines[0], lines[-1]) == ("[b]t[/b] :smile:", "[red]x[/red] :cat:")


def test_latex_has_rules_a_caption_and_no_live_characters() -> None:
    rows = [["a_b & 50%", Spread(1.0, 0.5, 3)], ["\\x{}", None]]
    assert Table("t #1", ["name", "f1"], rows, decimals=1).latex().split("\n") == [
        "\\begin{table}",
        "\\centering",
        "\\caption{t \\#1}",
        "\\begin{tabular}{lr}",
        "\\toprule",
        "name & f1 \\\\",
        "\\midrule",
        "a\\_b \\& 50\\% & 1.0 $\\pm$ 0.5 \\\\",
        "\\textbackslash{}x\\{\\} & -- \\\\",
        "\\bottomrule",
        "\\end{tabular}",
        "\\end{table}",
    ]


def test_csv_keeps_whole_figures_with_their_deviations_beside() -> None:
    rows = [["a,b", Spread(1.2345, 0.5, 3), 7], ["c", Spread(2.0, None, 1), None], ["d", None, 1]]
    assert Table("t", ["name", "f1", "runs"], rows).csv().split("\n") == [
        "name,f1,f1 std,runs",
        '"a,b",1.2345,0.5,7',
        "c,2.0,,",
        "d,,,1",
    ]


def test_csv_leaves_nan_empty() -> None:
    assert Table("", ["f1"], [[math.nan]]).csv() == 'f1\n""'


def test_a_word_is_cut_behind_its_hyphens():
    columns = ["always-normalised", "well-nigh-endless-name"]
    table = Table("", columns, [[1.0, 2.0]], decimals=1)
    assert plain(table, 24).split("\n") == [
        "              well-nigh-",
        "     always-    endless-",
        "  normalised        name",
        "         1.0         2.0",
    ]


def test_where_words_do_not_fit_beside_each_other_rows_become_lists():
    rows = [["promptfuse", Spread(50.0, 1.0, 3), 1], ["linear", None, 2]]
    table = Table("t", ["method", "precision", "seeds"], rows)
    assert table.text(width=24).split("\n") == [  # 10 + 9 + 5 and two gaps of 2 are 28
        "t",
        "method     promptfuse",
        "precision  50.00 ± 1.00",
        "seeds      1",
        "",
        "method     linear",
        "precision  –",
        "seeds      2",
    ]
