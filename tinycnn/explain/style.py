"""The page's CSS: large type, for a projector of 1280x800.  It loads no other file."""

from ..ground.html_page import SCROLL_CUE

STYLE = """
:root { color-scheme: light dark; --paper: #fff; --ink: #14181d; --muted: #59626e;
  --rule: #d9dce1; --faint: #f3f4f6; --below: #215aac; --above: #be1e2d; --mark: #ffe9a8;
  --link: #1d5fa8; --forward: #2f7d4f; --backward: #7d46a8; --wrong: #fbd5d8;
  --cover: var(--paper); --edge: rgb(0 0 0 / .3); }
@media screen and (prefers-color-scheme: dark) { :root { --paper: #14171a; --ink: #e6e7e8;
  --muted: #9ca4ae; --rule: #3a4047; --faint: #1e2226; --below: #5f9be8; --above: #ee6b78;
  --mark: #574a17; --link: #74aeee; --forward: #62c498; --backward: #c39be8; --wrong: #5c2329;
  --edge: rgb(255 255 255 / .4); } }
* { box-sizing: border-box; }
html { scroll-padding-top: 3.2rem; font-size: 18px; }
body { margin: 0; background: var(--paper); color: var(--ink); font-variant-numeric: tabular-nums;
  font: 1rem/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial,
  sans-serif; }
main { max-width: 1280px; margin: 0 auto; padding: 1rem 1.3rem 4rem; }
.bar { position: sticky; top: 0; z-index: 2; display: flex; flex-wrap: wrap; gap: .1rem .15rem;
  padding: .45rem 1rem; background: #14181d; }
.bar a { color: #fff; text-decoration: none; padding: .1rem .55rem; border-radius: 4px; font-size:
  .95rem; }
.bar a:hover, .bar a:focus { background: #fff; color: #14181d; }
a { color: var(--link); }
h1 { font-size: 2rem; line-height: 1.15; margin: .4rem 0 .8rem; overflow-wrap: anywhere; }
h2 { font-size: 1.7rem; margin: 0; }
h2 small { font-weight: 400; font-size: 1.15rem; color: var(--muted); margin-left: .5rem; }
h3 { font-size: 1.15rem; margin: 1.8rem 0 .6rem; }
h4 { margin: 0 0 .3rem; font-size: 1rem; }
p { margin: 0 0 .8rem; max-width: 74ch; overflow-wrap: anywhere; }
section { border-top: 3px solid var(--ink); margin-top: 3.5rem; padding-top: 1rem; }
.head { display: flex; justify-content: space-between; align-items: baseline; gap: 1rem;
  margin-bottom: .6rem; }
.turn { white-space: nowrap; }
.turn a { margin-left: 1rem; text-decoration: none; }
.hero { display: grid; grid-template-columns: minmax(0, 1fr) 250px; gap: 2rem; }
.hero img { margin-top: .6rem; }
.sense { font-size: 1.2rem; margin-bottom: .4rem; }
.stats, .here, .legend, .ref, figcaption, caption, footer { color: var(--muted); }
.stats { max-width: none; }
.note { background: var(--mark); padding: .4rem .7rem; border-radius: 4px; }
.swatch { display: inline-block; width: 1.6em; height: .9em; border: 1px solid var(--rule);
  vertical-align: -.05em; margin-left: .6em; }
.swatch.below { background: var(--below); margin-left: 0; }
.swatch.above { background: var(--above); }
img { image-rendering: pixelated; display: block; max-width: 100%; outline: 1px solid var(--rule);
  }
.hero img { image-rendering: auto; }
figure { margin: 0; }
figcaption { font-size: .8rem; line-height: 1.3; margin-top: .15rem; }
.two { display: grid; grid-template-columns: minmax(0, 1fr) minmax(0, 1fr); gap: 0 2rem; }
.two > div { border-top: 6px solid var(--ink); padding-top: .5rem; min-width: 0; }
.two > .forward { border-color: var(--forward); }
.two > .backward { border-color: var(--backward); }
.two h3 { margin: 0 0 .5rem; }
.two .forward h3 { color: var(--forward); }
.two .backward h3 { color: var(--backward); }
.formula { background: var(--faint); padding: .45rem .7rem; border-radius: 4px; max-width: none; }
.formula code { font-size: 1.02rem; }
.formula .ref { display: block; font-size: .75rem; }
.sum { white-space: nowrap; font-size: 1.25em; }
.sum small { font-size: .58em; vertical-align: -.3em; }
code, pre, .worked, .probes th, .worked td { font-family: ui-monospace, SFMono-Regular, Menlo,
  Consolas, "DejaVu Sans Mono", monospace; }
pre { font-size: .85rem; line-height: 1.4; padding: 1rem; overflow-x: auto; --cover: var(--faint);
  SCROLL_CUE }
details { margin-top: 1.4rem; }
summary { cursor: pointer; color: var(--link); }
table { border-collapse: collapse; }
caption { text-align: left; padding-bottom: .2rem; }
th, td { text-align: left; padding: .2rem .6rem .2rem 0; font-weight: 400; }
thead th { color: var(--muted); }
.n { text-align: right; white-space: nowrap; }
tr.spot > th, tr.spot > td { background-color: var(--mark); }
.steps { width: 100%; margin-top: 1.4rem; }
.steps td, .steps th { border-bottom: 1px solid var(--rule); padding: .28rem .6rem .28rem 0; }
.steps th a { font-weight: 600; text-decoration: none; }
.worked { font-size: .8rem; width: 100%; margin: .7rem 0 1rem; }
.worked caption { font-family: system-ui, sans-serif; font-size: .95rem; color: var(--ink); }
.worked td { border-bottom: 1px solid var(--rule); padding-right: .4rem; white-space: nowrap; }
.worked .total td { font-weight: 700; border-bottom: 0; border-top: 2px solid var(--ink); }
.row { display: flex; flex-wrap: wrap; gap: 1.2rem 1.1rem; align-items: flex-start; }
.row.even > div { flex: 1 1 0; min-width: 240px; }
.row figure { margin-top: .6rem; }
.grid { font-size: .7rem; }
.grid td, .grid th { padding: 0 .2rem; height: 1.75rem; min-width: 2.2rem; text-align: right;
  white-space: nowrap; }
.grid th { color: var(--muted); }
.grid caption { font-size: .95rem; color: var(--ink); white-space: nowrap; }
.grid sup { line-height: 0; }
.grid tr > :first-child { min-width: 1.4rem; }
.grid td[style] { border: 1px solid var(--paper); }
td[style] { color: #14181d; }
td.deep[style] { color: #fff; }
.grid td.winner, .grid td.spot { outline: 3px solid var(--ink); outline-offset: -3px; font-weight:
  700; }
.grid td[style].winner, .grid td[style].spot { outline-color: #14181d; }
.two .grid { margin-top: 1rem; }
.bars { width: 100%; font-size: .85rem; line-height: 1.3; }
.bars th { width: 1%; white-space: nowrap; max-width: 14ch; overflow: hidden; text-overflow:
  ellipsis; }
.bars td, .bars th { padding-top: 0; padding-bottom: 0; }
.bars .n { width: 5.2rem; padding-right: 0; }
.length { position: relative; height: 1.2rem; min-width: 6rem; }
.bars .length { background: linear-gradient(to right, transparent calc(50% - .5px), #9aa2ad 0,
  #9aa2ad calc(50% + .5px), transparent 0); }
.length i { position: absolute; top: .2rem; bottom: .2rem; }
i.below { background: var(--below); }
i.above { background: var(--above); }
i.error { background: var(--backward); }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(278px, 1fr)); gap: .9rem;
  }
.card { border: 1px solid var(--rule); border-radius: 6px; padding: .4rem .6rem .6rem; }
.card.spot { border: 3px solid var(--ink); }
.card p { margin: .2rem 0 0; font-size: .85rem; }
.figures { display: grid; grid-template-columns: 1fr 1fr; gap: .5rem; }
.card figcaption { font-size: .74rem; }
.probes { width: 100%; font-size: .82rem; }
.probes td, .probes th { border-bottom: 1px solid var(--rule); padding-right: .5rem; white-space:
  nowrap; }
.probes .kink td, .probes .kink th { color: var(--muted); }
.probes .disagrees td, .probes .disagrees th { background: var(--wrong); }
.classes { margin-top: 1.4rem; }
.classes td, .classes th { padding: .3rem 1.2rem .3rem .4rem; }
.sweep { width: 100%; }
.sweep .length { width: 30%; }
.differences td, .differences th { padding-right: 2rem; }
footer { margin-top: 3rem; font-size: .85rem; }
@media (max-width: 60rem) { html { font-size: 16px; }
  .two, .hero { grid-template-columns: minmax(0, 1fr); }
  .row > * { max-width: 100%; }
  table { display: block; max-width: 100%; overflow-x: auto; SCROLL_CUE } }
@media (max-width: 30rem) { .grid { font-size: .62rem; }
  .grid td, .grid th { padding: 0 .1rem; min-width: 1.9rem; } }
@media print { .bar { display: none; } section { break-before: page; } body { print-color-adjust:
  exact; -webkit-print-color-adjust: exact; } }
""".replace("SCROLL_CUE", SCROLL_CUE)
