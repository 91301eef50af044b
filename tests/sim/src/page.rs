//! The figures of scenarios as one page: a table, and a plot for each run. No script, no other file.

use std::collections::BTreeMap;

use crate::scenario::{COLUMNS, Figures};

const WIDTH: u64 = 720;
const HEIGHT: u64 = 160;

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:76rem;padding:0 1rem;\
color:#1a1a1a;background:#fff}table{border-collapse:collapse;font-size:13px;display:block;overflow-x:auto}\
th,td{border-bottom:1px solid #ddd;padding:.35rem .5rem;text-align:left;vertical-align:top}\
figure{margin:2rem 0}figcaption{font-weight:600}svg{width:100%;height:auto;max-width:720px}\
@media(prefers-color-scheme:dark){body{color:#eee;background:#16181c}th,td{border-color:#333}}";

/// The whole page.
#[must_use]
pub fn page(all: &[Figures]) -> String {
    let mut html = String::from(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>Leases under load</title><style>",
    );
    html.push_str(STYLE);
    html.push_str("</style><h1>Leases under load</h1><p>Every run is simulated with the product's own code. \
        Blue: contacts at the home per second; orange: at the busiest sub-home; grey: requests served per second, \
        scaled to the height.</p><table><thead><tr>");
    for column in COLUMNS {
        html.push_str(&format!("<th>{}</th>", escape(column)));
    }
    html.push_str("</tr></thead><tbody>");
    for figures in all {
        html.push_str("<tr>");
        for value in figures.row() {
            html.push_str(&format!("<td>{}</td>", escape(&value)));
        }
        html.push_str("</tr>");
    }
    html.push_str("</tbody></table>");
    for figures in all {
        plot(&mut html, figures);
    }
    html.push_str("</html>\n");
    html
}

fn plot(html: &mut String, figures: &Figures) {
    let mut busiest: BTreeMap<u64, u64> = BTreeMap::new();
    for ((_, second), contacts) in &figures.meters.subs {
        let most = busiest.entry(*second).or_insert(0);
        *most = (*most).max(*contacts);
    }
    let home = &figures.meters.home;
    let highest = home.values().chain(busiest.values()).copied().max().unwrap_or(1).max(1);
    let served_most = figures.meters.served.values().copied().max().unwrap_or(1).max(1);
    html.push_str(&format!(
        "<figure><figcaption>{}, {}: {}</figcaption>\
         <svg viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"contacts per second\">",
        escape(figures.scenario.name),
        escape(figures.level),
        escape(figures.scenario.about),
        WIDTH + 60,
        HEIGHT + 30
    ));
    line(html, &figures.meters.served, served_most, "#9aa0a6");
    line(html, &busiest, highest, "#e8710a");
    line(html, home, highest, "#1a73e8");
    html.push_str(&format!("<text x=\"{}\" y=\"14\" font-size=\"12\" fill=\"currentColor\">{highest}/s</text>\
         <text x=\"0\" y=\"{}\" font-size=\"12\" fill=\"currentColor\">seconds from the start</text></svg></figure>",
        WIDTH + 6,
        HEIGHT + 22
    ));
}

fn line(html: &mut String, values: &BTreeMap<u64, u64>, highest: u64, colour: &str) {
    let last = values.keys().next_back().copied().unwrap_or(0).max(1);
    let mut points = String::new();
    for second in 0..=last {
        let value = values.get(&second).copied().unwrap_or(0);
        points.push_str(&format!("{},{} ", second * WIDTH / last, HEIGHT - value * HEIGHT / highest));
    }
    html.push_str(&format!(
        "<polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\" points=\"{points}\"/>"
    ));
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
