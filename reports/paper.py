"""`paper.tex`: every table by `\\input` and every figure, in a document that compiles where LaTeX is installed."""
from __future__ import annotations

from collections.abc import Sequence

from reports.figures import Saved
from reports.material import Material
from reports.table import Table
from reports.write import latex

_PREAMBLE = r"""\documentclass[10pt]{article}
\usepackage[T1]{fontenc}
\usepackage[utf8]{inputenc}
\usepackage[a4paper,margin=2cm]{geometry}
\usepackage{textcomp}
\IfFileExists{lmodern.sty}{\usepackage{lmodern}}{}
\usepackage{booktabs}
\usepackage{graphicx}
\setlength{\belowcaptionskip}{6pt}
\begin{document}
"""


_PACKAGES = ("patchvsr", "torch", "diffusers")


def paper_tex(title: str, material: Material, tables: Sequence[Table], figures: Sequence[Saved], command: str) -> str:
    """The whole document; tables lie in `tables/`, figures in `figures/` beside it."""
    evidence = material.evidence
    lines = [_PREAMBLE, rf"\title{{{latex(title)}}}", r"\author{}\date{}", r"\maketitle", r"\section{What was run}"]
    if evidence.notes:
        lines += [r"\textbf{Read this first.} " + latex(" ".join(evidence.notes)), ""]
    for run in evidence.runs:
        packages = run.description["environment"].get("packages", {})
        versions = ", ".join(f"{name} {packages[name]}" for name in _PACKAGES if name in packages)
        lines += [rf"{latex(run.setting)}: {latex(run.machine)}; {latex(versions)}.\\", _listing(run.command), ""]
    for study in material.studies:
        lines.append(rf"\paragraph{{{latex(study.title)}}} {latex(study.question)} {latex(study.conclusion)}")
        lines.append(r"\begin{itemize}")
        lines += [rf"\item {latex(str(one['sentence']))}" for one in study.findings]
        lines += [r"\item " + latex("The study makes no claim.")] if not study.findings else []
        lines.append(r"\end{itemize}")
    lines += ["This document was made by:", "", _listing(command), r"\section{Tables}"]
    lines += [rf"\input{{tables/{table.name}.tex}}" for table in tables]
    if figures:
        lines += [r"\clearpage", r"\section{Figures}", *(_figure(figure) for figure in figures)]
    return "\n".join([*lines, r"\end{document}", ""])


def _listing(command: str) -> str:
    """A command to be copied: broken after commas where it is too long, with hyphens and quotes as they are typed."""
    words = (_typed(word).replace(",", r",\allowbreak{}") for word in command.split())
    return rf"{{\footnotesize\ttfamily\raggedright {' '.join(words)}\par}}"


def _typed(text: str) -> str:
    """Text without what LaTeX makes of neighbours: two hyphens are no dash, straight quotes stay straight."""
    return latex(text).replace("-", "-{}").replace("'", r"\textquotesingle{}")


def _figure(figure: Saved) -> str:
    return "\n".join([
        r"\begin{figure}[htbp]", r"\centering",
        rf"\includegraphics[width=\linewidth,height=0.4\textheight,keepaspectratio]{{figures/{figure.pdf.name}}}",
        rf"\caption{{{latex(figure.caption)}}}", rf"\label{{fig:{figure.name}}}", r"\end{figure}",
    ])  # fmt: skip
