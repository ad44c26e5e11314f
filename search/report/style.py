"""The look of the pages on a screen, a phone and paper, and the colours of the figures."""

from __future__ import annotations

from search.record.states import COMPLETE, FAILED, PRUNED

#: Colours that colour-blind people can distinguish (Okabe and Ito, Color Universal Design, 2008), and greys.
BLUE, ORANGE, GREEN, PURPLE = "#0072b2", "#d55e00", "#009e73", "#cc79a7"
INK, SOFT, GREY, LINE = "#1a1a1a", "#555555", "#999999", "#dddddd"
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
#: State of an ended trial -> colour and Plotly's symbol.
STATE_STYLES = {
    COMPLETE: (BLUE, "circle"),
    PRUNED: (GREY, "x-thin-open"),
    FAILED: (PURPLE, "triangle-down"),
}

CSS = f"""
*, *::before {{ box-sizing: border-box }}
html {{ -webkit-text-size-adjust: 100% }}
body {{ font: 16px/1.55 {FONT}; color: {INK}; background: #fff; margin: 0 auto; max-width: 64rem;
  padding: 1.5rem clamp(1rem, 4vw, 2rem) 4rem }}
h1 {{ font-size: 1rem; font-weight: 600; color: {SOFT}; margin: 0 0 .6rem; overflow-wrap: anywhere }}
h2 {{ font-size: 1.3rem; line-height: 1.3; margin: 0 0 .6rem }}
h3 {{ font-size: 1rem; margin: 1.6rem 0 .4rem }}
section {{ border-top: 1px solid {LINE}; margin-top: 2.4rem; padding-top: 1.6rem }}
p {{ margin: .5rem 0; max-width: 48rem }}
.claim {{ font-size: 1.22rem; line-height: 1.5; border-left: 4px solid {BLUE}; padding-left: 1rem;
  margin: 0 0 1rem; max-width: none }}
.warning {{ border-left: 4px solid {ORANGE}; padding: .1rem 0 .1rem 1rem; font-weight: 600 }}
.note, figcaption, dt {{ color: {SOFT} }}
.note, figcaption {{ font-size: .9rem }}
nav {{ font-size: .9rem; line-height: 1.9 }}
nav a {{ color: {BLUE}; margin-right: 1.1rem; text-decoration: none; white-space: nowrap }}
nav a:hover {{ text-decoration: underline }}
.scroll {{ overflow-x: auto; margin: .8rem 0; background: /* a shadow if the content is wider */
  linear-gradient(to right, #fff 40%, #fff0) left / 2.5rem 100% no-repeat local,
  linear-gradient(to left, #fff 40%, #fff0) right / 2.5rem 100% no-repeat local,
  linear-gradient(to right, #0002, #0000) left / .7rem 100% no-repeat scroll,
  linear-gradient(to left, #0002, #0000) right / .7rem 100% no-repeat scroll }}
table {{ border-collapse: collapse; font-size: .92rem; font-variant-numeric: tabular-nums }}
th, td {{ padding: .26rem 1.1rem .26rem 0; text-align: left; vertical-align: baseline; white-space: nowrap;
  border-bottom: 1px solid #eee }}
th {{ font-weight: 600; border-bottom: 1px solid {GREY}; vertical-align: bottom }}
.n {{ text-align: right }} td.w {{ white-space: normal; min-width: 11rem }}
.marked td {{ font-weight: 600; background: #eef5fa }}
dl {{ display: grid; grid-template-columns: minmax(7rem, max-content) 1fr; gap: .25rem 1.4rem;
  margin: .8rem 0; font-size: .92rem; font-variant-numeric: tabular-nums }}
dd {{ margin: 0; overflow-wrap: anywhere }}
pre {{ background: #f5f5f5; padding: .7rem .9rem; overflow-x: auto; font-size: .86rem; line-height: 1.45;
  margin: .6rem 0 }}
figure {{ margin: .8rem 0 1.2rem }} figcaption {{ max-width: 48rem }}
.grid {{ display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 17rem), 1fr));
  gap: .2rem 1rem }}
.grid figure {{ margin: 0; min-width: 0 }}
summary {{ cursor: pointer; color: {BLUE}; margin: .6rem 0 }}
@media (max-width: 560px) {{
  .claim {{ font-size: 1.08rem }} table {{ font-size: .86rem }} th, td {{ padding-right: .8rem }}
  dl {{ grid-template-columns: 1fr; gap: 0 }} dd {{ margin-bottom: .5rem }}
}}
@media print {{
  @page {{ margin: 14mm }}
  body {{ font-size: 10pt; padding: 0; max-width: none }}
  nav, summary {{ display: none }}
  h2, h3 {{ break-after: avoid }} figure, tr, dl > * {{ break-inside: avoid }}
  .scroll {{ overflow: visible; background: none }} th, td {{ padding-right: .7rem }}
  pre {{ white-space: pre-wrap; overflow-wrap: anywhere }} .marked td {{ background: none }}
}}
"""

#: Fits the plots to the paper before the page is printed, and to the window afterwards.
SCRIPT = """
const plots = () => [...document.querySelectorAll('.plotly-graph-div')].filter(plot => plot.clientWidth);
addEventListener('beforeprint', () => plots().forEach(plot =>
  Plotly.relayout(plot, {autosize: false, width: Math.min(plot.clientWidth, 660)})));
addEventListener('afterprint', () => plots().forEach(plot =>
  Plotly.relayout(plot, {autosize: true, width: null})));
document.querySelectorAll('details').forEach(fold => fold.addEventListener('toggle', () =>
  fold.querySelectorAll('.plotly-graph-div').forEach(plot => Plotly.Plots.resize(plot))));
"""
