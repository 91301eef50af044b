//! The figures of scenarios as one page: plots for each question, and a table. No script, no other file.

use std::collections::BTreeMap;

use crate::figures::{
    ASKED_MAX, COLUMNS, FIRST_MS_MAX, Figures, HOME_MAX, Peak, SERVED_MIN, percent, ten_thousandths,
};
use crate::plot::{Dot, Dots, Lines, Row, Scale, escape, push};
use crate::scenario::{Level, TURN_SECONDS};

const STYLE: &str = include_str!("page.css");

/// A question that is asked of each run, as a plot of its answers.
struct Question {
    title: &'static str,
    about: &'static str,
    scale: Scale,
    /// What the values are to keep on one side of.
    limit: fn(&Figures) -> Option<u64>,
    text: fn(u64) -> String,
    of: fn(&Figures) -> Option<u64>,
}

const QUESTIONS: [Question; 9] = [
    Question {
        title: "Contacts at the home, per decision",
        about: "What the one object of a project is asked, for each request.",
        scale: Scale::Tens(1, 10_000),
        limit: |figures| figures.per_decision_max().0,
        text: ten_thousandths,
        of: |figures| Some(figures.per_decision(&(0..figures.scenario.seconds)).at_home),
    },
    Question {
        title: "All contacts, per decision",
        about: "Those of isolates to the sub-home of their region too.",
        scale: Scale::Tens(100, 100_000),
        limit: |figures| figures.per_decision_max().1,
        text: ten_thousandths,
        of: |figures| Some(figures.per_decision(&(0..figures.scenario.seconds)).in_all),
    },
    Question {
        title: "Allowed without a message",
        about: "The part of what is served that an isolate decides by itself.",
        scale: Scale::Even(0, 10_000),
        limit: |_| None,
        text: percent,
        of: |figures| Some(figures.local()),
    },
    Question {
        title: "Denied without a message",
        about: "How often is limited by raises, which are usable within two seconds.",
        scale: Scale::Even(0, 10_000),
        limit: |_| None,
        text: percent,
        of: |figures| (figures.meters.denied_local > 0).then(|| figures.denied_locally()),
    },
    Question {
        title: "Wait of served requests that waited",
        about: "All but one in a hundred. Round trips are 20 to 80 ms, in the region 4 to 20 ms.",
        scale: Scale::Even(0, 600),
        limit: |_| None,
        text: milliseconds,
        of: |figures| Some(figures.waits().1),
    },
    Question {
        title: "First request of an isolate",
        about: "All but one in a hundred, cold. Kept where nothing fails.",
        scale: Scale::Even(0, 600),
        limit: |_| Some(FIRST_MS_MAX),
        text: milliseconds,
        of: |figures| Some(figures.first_waits().1),
    },
    Question {
        title: "Served of what could be",
        about: "Of the allowance, the minutes' limit or the demand, whichever is least.",
        scale: Scale::Even(9_900, 10_000),
        limit: |_| Some(SERVED_MIN),
        text: percent,
        of: |figures| Some(figures.utilisation()),
    },
    Question {
        title: "Most units unsettled in one isolate",
        about: "Lost to the bill if it dies at that moment: never more than its rate for 8.5 s.",
        scale: Scale::Tens(1, 10_000),
        limit: |figures| Some(figures.unsettled_bound()),
        text: units,
        of: |figures| Some(figures.meters.unsettled_max),
    },
    Question {
        title: "Served and not billed",
        about: "With isolates that died; nothing where none did.",
        scale: Scale::Even(0, 200),
        limit: |_| None,
        text: percent,
        of: |figures| Some(figures.unbilled()),
    },
];

/// The whole page.
#[must_use]
pub fn page(all: &[Figures]) -> String {
    let mut html = String::from(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>Leases under load</title><style>",
    );
    html.push_str(STYLE);
    html.push_str(
        "</style><h1>Leases under load</h1><p>Projects of every size, simulated with the product's own code: \
         isolates decide from leases, sub-homes stand between them and the project's one home. Requests come \
         unevenly: of 500 isolates the busiest has 140 times the rate of the last. Clocks are skewed and drift.</p>",
    );
    tiles(&mut html, all);
    html.push_str(
        "<h2>By project and faults</h2><p>Each row is a project, each dot one run. Point at a dot for its value.\
         </p><div class=grid-of>",
    );
    for question in &QUESTIONS {
        by_level(&mut html, all, question);
    }
    html.push_str(
        "</div><h2>Cold, warm, at the minute's turn, in the tail</h2><p>The busiest second of each part, without \
         faults. Cold: every isolate is new and asks within three seconds.</p><div class=grid-of>",
    );
    by_part(&mut html, all, ("Contacts at the home per second", HOME_MAX, 600), |peak| peak.home);
    by_part(&mut html, all, ("Contacts at the busiest sub-home per second", ASKED_MAX, 1_200), |peak| {
        peak.sub_home
    });
    html.push_str(
        "</div><h2>Second by second</h2><p>Contacts per second, without faults. Requests served are scaled to \
         the height.</p><div class=grid-of>",
    );
    for figures in calm(all) {
        seconds(&mut html, figures);
    }
    html.push_str("</div><h2>All figures</h2><div class=table>");
    table(&mut html, all);
    html.push_str("</div></html>\n");
    html
}

fn milliseconds(n: u64) -> String {
    format!("{n} ms")
}

fn units(n: u64) -> String {
    n.to_string()
}

fn calm(all: &[Figures]) -> impl Iterator<Item = &Figures> {
    all.iter().filter(|figures| figures.level == Level::Calm)
}

fn tiles(html: &mut String, all: &[Figures]) {
    let violations = all.iter().filter(|figures| figures.violation.is_some()).count();
    let kept = all.iter().filter(|figures| figures.is_good()).count();
    let served: u64 = all.iter().map(|figures| figures.served).sum();
    let behind = || all.iter().filter(|figures| !figures.scenario.direct);
    let busiest = behind().map(|figures| figures.peak(&(0..figures.scenario.seconds)).home).max();
    let first = calm(all).map(|figures| figures.first_waits().1).max();
    let least = calm(all).map(Figures::utilisation).min();
    let tiles = [
        (violations.to_string(), format!("violations in {} runs", all.len())),
        (format!("{}.{} M", served / 1_000_000, served / 100_000 % 10), "units served".to_owned()),
        (format!("{kept} of {}", all.len()), "runs kept every figure".to_owned()),
        (
            format!("{}/s", busiest.unwrap_or(0)),
            format!("at the busiest home behind sub-homes, of {HOME_MAX}/s"),
        ),
        (
            format!("{} ms", first.unwrap_or(0)),
            "first requests wait at most, 99 of 100, without faults".to_owned(),
        ),
        (percent(least.unwrap_or(0)), "of what could be served is, at least, without faults".to_owned()),
    ];
    html.push_str("<div class=tiles>");
    for (value, about) in tiles {
        push(html, format_args!("<div><b>{}</b><span>{}</span></div>", escape(&value), escape(&about)));
    }
    html.push_str("</div>");
}

fn by_level(html: &mut String, all: &[Figures], question: &Question) {
    let mut rows: Vec<Row<'_>> = Vec::new();
    for figures in all {
        let series = Level::ALL.iter().position(|level| *level == figures.level).unwrap_or(0);
        let dot = (question.of)(figures).map(|value| Dot { series, value });
        let (label, limit) = (figures.scenario.name, (question.limit)(figures));
        match rows.last_mut().filter(|row| row.label == label) {
            Some(row) => row.dots.extend(dot),
            None => rows.push(Row { label, limit, dots: dot.into_iter().collect() }),
        }
    }
    rows.retain(|row| !row.dots.is_empty());
    let Question { title, about, scale, text, .. } = *question;
    let series = &Level::ALL.map(Level::name);
    Dots { title, about, series, colours: "level", scale, text, rows }.draw(html);
}

fn by_part(html: &mut String, all: &[Figures], (title, limit, most): (&str, u64, u64), of: fn(Peak) -> u64) {
    let behind = calm(all).filter(|figures| !figures.scenario.direct);
    let rows = behind.map(|figures| {
        let dots = (0..).zip(figures.parts());
        let dots = dots.map(|(series, (_, part))| Dot { series, value: of(figures.peak(&part)) });
        Row { label: figures.scenario.name, limit: Some(limit), dots: dots.collect() }
    });
    let rows = rows.collect();
    let Some(figures) = all.first() else { return };
    let series = &figures.parts().map(|(name, _)| name);
    let about = "What one object takes, with room to spare, is the dashed line.";
    Dots { title, about, series, colours: "part", scale: Scale::Even(0, most), text: units, rows }.draw(html);
}

fn seconds(html: &mut String, figures: &Figures) {
    let mut busiest: BTreeMap<u64, u64> = BTreeMap::new();
    for ((_, second), contacts) in &figures.meters.subs {
        let most = busiest.entry(*second).or_insert(0);
        *most = (*most).max(*contacts);
    }
    let (home, served) = (&figures.meters.home, &figures.meters.served);
    let top = home.values().chain(busiest.values()).copied().max().unwrap_or(1).max(1);
    let served_top = served.values().copied().max().unwrap_or(1).max(1);
    let served_name = format!("served, up to {served_top}/s");
    Lines {
        title: figures.scenario.name,
        about: figures.scenario.about,
        mark: (TURN_SECONDS, "the minute turns"),
        seconds: figures.scenario.seconds,
        lines: [("home", home, top), ("busiest sub-home", &busiest, top), (&served_name, served, served_top)],
    }
    .draw(html);
}

fn table(html: &mut String, all: &[Figures]) {
    html.push_str("<table><thead><tr>");
    for column in COLUMNS {
        push(html, format_args!("<th>{}</th>", escape(column)));
    }
    html.push_str("</tr></thead><tbody>");
    for figures in all {
        let first = if figures.level == Level::Calm { " class=first" } else { "" };
        push(html, format_args!("<tr{first}>"));
        for value in figures.row() {
            let missed = if value.starts_with("not: ") { " class=missed" } else { "" };
            push(html, format_args!("<td{missed}>{}</td>", escape(&value)));
        }
        html.push_str("</tr>");
    }
    html.push_str("</tbody></table>");
}
