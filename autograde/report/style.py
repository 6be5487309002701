"""The style sheet of the report: light and dark mode, print, and readable without colour."""

STYLE = """
:root { --paper: #fff; --ink: #1c2024; --soft: #5b6570; --line: #d5dae0; --panel: #f4f6f8; --heat: 25 70 140;
        --heat-text: #fff; color-scheme: light dark; }
@media (prefers-color-scheme: dark) {
  :root { --paper: #15181c; --ink: #e6e9ed; --soft: #9aa5b1; --line: #363d45; --panel: #1e2328; --heat: 130 185 255;
          --heat-text: #10141a; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 76rem; padding: 1.5rem 1.25rem 4rem; background: var(--paper); color: var(--ink);
       font: 15px/1.5 system-ui, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
h1 { font-size: 1.7rem; margin: 0; } h2 { font-size: 1.3rem; margin: 2.6rem 0 .4rem; padding-top: .8rem;
     border-top: 2px solid var(--ink); } h3 { font-size: 1.02rem; margin: 1.7rem 0 .5rem; }
p { margin: .4rem 0; max-width: 48rem; } .soft { color: var(--soft); } a { color: inherit; }
nav { margin: .8rem 0 0; display: flex; flex-wrap: wrap; gap: .3rem 1.1rem; }
.facts { display: flex; flex-wrap: wrap; gap: .7rem; margin: 1.2rem 0; padding: 0; list-style: none; }
.facts li { background: var(--panel); border: 1px solid var(--line); border-radius: .4rem; padding: .5rem .9rem;
            min-width: 8.5rem; }
.facts b { display: block; font-size: 1.35rem; line-height: 1.25; font-variant-numeric: tabular-nums; }
table { border-collapse: collapse; font-size: .9rem; }
th, td { padding: .22rem .6rem; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line); }
th { font-weight: 600; } thead th { vertical-align: bottom; border-bottom: 1px solid var(--soft); }
.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.name { overflow-wrap: anywhere; max-width: 22rem; } code { font: .88em/1.4 ui-monospace, Consolas, monospace;
     overflow-wrap: anywhere; }
.wide { overflow-x: auto; } .wide > table { margin-bottom: .3rem; }
svg text { fill: currentColor; font: 11px system-ui, sans-serif; }
.passed { fill: rgb(var(--heat) / .12); } .partly { fill: rgb(var(--heat) / .38); } .wrong { fill: rgb(var(--heat) / .9); }
.not_started { fill: url(#dots); } .not_judged { fill: url(#stripes); } .frame { fill: none; stroke: var(--soft); }
.bar { fill: rgb(var(--heat) / .75); } .pattern { fill: var(--soft); stroke: var(--soft); }
.key { display: flex; flex-wrap: wrap; gap: .2rem 1.2rem; font-size: .85rem; margin: .3rem 0; }
.key span { display: inline-flex; align-items: center; gap: .35rem; }
.heat { border-collapse: separate; border-spacing: 0; } .heat td, .heat th { border: 0; }
.heat td { border-right: 1px solid var(--line); border-bottom: 1px solid var(--line); min-width: 1.6rem; height: 1.5rem;
           padding: 0 .15rem; text-align: center; font-size: .78rem; font-variant-numeric: tabular-nums; }
.heat tbody th { font-weight: 400; padding: 0 .6rem 0 0; text-align: right; border-right: 1px solid var(--line);
                 max-width: 14rem; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.heat thead th { padding: .2rem 0; height: 9.5rem; vertical-align: bottom; font-weight: 400; }
.heat thead tr:first-child th { height: auto; font-weight: 600; text-align: left; padding-left: .3rem; }
.heat thead div { writing-mode: vertical-rl; transform: rotate(180deg); margin: 0 auto; white-space: nowrap; }
.heat .first { border-left: 2px solid var(--soft); }
.h { background: rgb(var(--heat) / var(--a)); } .h.dark { color: var(--heat-text); }
.h.rest { background: repeating-linear-gradient(135deg, rgb(var(--heat) / var(--a)) 0 3px, transparent 3px 6px); }
.mistake { display: grid; grid-template-columns: 6.5rem 1fr; gap: .2rem 1rem; padding: .6rem 0;
           border-bottom: 1px solid var(--line); } .mistake b.count { font-size: 1.35rem; line-height: 1.2; } .mistake > div:first-child { white-space: nowrap; }
.mistake svg { display: block; margin-top: .2rem; } .mistake > div { min-width: 0; }
svg, .soft { max-width: 100%; } p, li { overflow-wrap: anywhere; }
@media (max-width: 40rem) { body { padding: 1rem .8rem 3rem; } .mistake { grid-template-columns: 1fr; } }
.rarer { margin-top: .6rem; }
@media print {
  :root { --paper: #fff; --ink: #000; --soft: #444; --line: #bbb; --panel: #fff; --heat: 40 40 40; --heat-text: #fff; }
  body { max-width: none; padding: 0; font-size: 10pt; } nav { display: none; } .wide { overflow: visible; }
  h2, h3 { break-after: avoid; } tr, .mistake, .facts li, svg { break-inside: avoid; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; } }
"""
