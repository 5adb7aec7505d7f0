"""The command line: `gradxform race | plan | names | show`, which is `python -m gradxform` too. The commands import what is heavy."""

from __future__ import annotations

import argparse
import difflib
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

import gradxform
from gradxform._errors import GradxformError

DONE, FAILED, USER_ERROR, INTERRUPTED, BROKEN_PIPE = 0, 1, 2, 130, 141  # exit statuses
SCHEDULES = ("constant", "cosine", "linear")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return the exit status: 0, 1 if no optimizer finished, 2 for a mistake of the user, 130 after Ctrl-C."""
    args = _parse(argv)
    try:
        status = args.command(args)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except (GradxformError, OSError) as e:
        print(f"error: {e}", file=sys.stderr)
        return USER_ERROR
    except KeyboardInterrupt:
        return INTERRUPTED
    return status


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The arguments; one that is not known is told by the command that does not know it, with the nearest that it does."""
    args, unknown = _parser().parse_known_args(argv)
    if unknown:
        options = [option for action in args.parser._actions for option in action.option_strings]
        near = difflib.get_close_matches(unknown[0].partition("=")[0], options, n=1, cutoff=0.5)
        args.parser.error(f"unrecognized arguments: {' '.join(unknown)}" + (f"; did you mean {near[0]}?" if near else ""))
    return args


class _Parser(argparse.ArgumentParser):
    """As argparse's; sub-parsers know themselves, and an error ends with where help is."""

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.set_defaults(parser=self)

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(USER_ERROR, f"error: {message}\n`{self.prog} --help` explains all arguments.\n")


def _parser() -> argparse.ArgumentParser:
    program = "gradxform" if Path(sys.argv[0]).stem == "gradxform" else "python -m gradxform"
    parser = _Parser(prog=program, description="Composable gradient transformations for JAX.")
    parser.add_argument("--version", action="version", version=f"gradxform {gradxform.__version__}")
    commands = parser.add_subparsers(required=True, metavar="race | plan | names | show", parser_class=_Parser)
    _add_race(commands.add_parser("race", help="train optimizers on a problem with equal budgets, and say which differ"))

    _add_plan(commands.add_parser("plan", help="what training takes of each device of a mesh: bytes, what travels, what binds"))

    names = commands.add_parser("names", help="list what is registered, a line each")
    names.set_defaults(command=_names)
    names.add_argument("pattern", nargs="?", default="*", help="a shell pattern such as 'adam*', or 'torch.*' for a dialect")
    names.add_argument(
        "--kind", choices=["optimizer", "transform", "*"], default="optimizer", help="optimizers (default), their parts, or both: *"
    )
    names.add_argument("--markdown", action="store_true", help="the whole registry as a table")

    show = commands.add_parser("show", help="what is known of one: equation, arguments, memory, source")
    show.set_defaults(command=_show)
    show.add_argument(
        "name", help="an optimizer, a part of one, a dialect's (torch.adam), a schedule, or any other public function"
    )
    return parser


def _add_race(race: argparse.ArgumentParser) -> None:
    race.set_defaults(command=_race)
    add = race.add_argument
    add(
        "problems",
        metavar="problem",
        nargs="*",
        help="digits (default), quadratic, surfaces, ... or your own: module:function, file.py",
    )
    add(
        "--optimizers",
        metavar="LIST",
        help="names, shell patterns and calls: 'adam*, torch.adamw, chain(clip(1.0), sgd), mine:my_opt'",
    )
    add(
        "--import", metavar="MODULE", dest="modules", action="append", default=[], help="a module or file that registers optimizers"
    )
    add("--steps", type=_at_least(10), help="updates per run (default: the problem's own number)")
    add("--seeds", type=_at_least(1), help="fresh seeds for the top third of the rates (default: 9)")
    add("--rates", type=_at_least(1), help="learning rates tried per optimizer, half a decade apart (default: 9)")
    add("--schedule", choices=SCHEDULES, default="cosine", help="how the rate runs; cosine (default) and linear have a warm-up")
    add("--quick", action="store_true", help="half the steps, 5 rates, 6 seeds")
    add("--lanes", type=_at_least(1), help="runs trained side by side (default: up to 16); fewer take less memory")
    add("--out", type=Path, metavar="DIR", help="folder of the results and their report (default: race-PROBLEM)")
    add("--resume", action="store_true", help="go on with the race of these settings in that folder")
    add("--no-figure", action="store_true", help="write results.json and results.csv alone")


def _add_plan(plan: argparse.ArgumentParser) -> None:
    plan.set_defaults(command=_plan)
    add = plan.add_argument
    add(
        "--model", required=True, help="gpt2, llama-8b, llama-70b, llama-405b, mixtral-8x7b, or module:function that returns shapes"
    )
    add("--optimizer", required=True, help="a name or a call, as in the race: adamw, 'store(adamw, \"8bit\")', mine:my_opt")
    add("--mesh", required=True, metavar="AXES", help="sizes by name, neighbouring devices last: data=128,fsdp=8")
    add("--zero", metavar="AXIS", help="the axes of the batch, with commas, over all of which the state is split")
    add(
        "--axes",
        metavar="ROLES",
        default="",
        help="what axes of other names are for: dp=data,tp=tensor; data, fsdp, tensor or expert",
    )
    add("--hardware", default="H100", help="A100, H100 (default), H200, B200, v5e, v5p, v6e, or module:record")
    add("--dtype", default="bfloat16", help="of the parameters of a model by name (default: bfloat16)")
    add(
        "--gathers",
        type=_at_least(1),
        default=2,
        help="how often a step gathers a split parameter (default: 2, forward and backward)",
    )
    add("--json", action="store_true", help="the numbers as JSON")


def _at_least(least: int) -> Callable[[str], int]:
    def whole_number(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"must be a whole number, at least {least}, but is {text!r}")
        return int(text)

    return whole_number


def _race(args: argparse.Namespace) -> int:
    problems = args.problems or ["digits"]
    print(f"gradxform race {' '.join(problems)}", flush=True)  # before the imports, which take seconds
    from gradxform.race import _command

    return _command.race(problems, args)


def _plan(args: argparse.Namespace) -> int:
    from gradxform.race import _planned

    return _planned.show(args)


def _names(args: argparse.Namespace) -> int:
    from gradxform.race import _catalogue

    return _catalogue.names(args.pattern, args.kind, args.markdown)


def _show(args: argparse.Namespace) -> int:
    from gradxform.race import _catalogue

    return _catalogue.show(args.name)
