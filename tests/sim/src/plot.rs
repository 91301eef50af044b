//! Plots as SVG text: dots in rows, and lines over time. No script; a pointer over a dot shows its value.

use std::collections::BTreeMap;
use std::fmt::Write;

/// The width of a plot's drawing, and what is beside it for labels.
const WIDTH: u64 = 400;
const LABEL: u64 = 128;
const RIGHT: u64 = 32;
/// The height of a row of dots, and of the axis below them.
const ROW: u64 = 22;
const AXIS: u64 = 24;
/// The height of lines over time.
const HEIGHT: u64 = 150;

/// How values become places.
#[derive(Debug, Clone, Copy)]
pub enum Scale {
    /// Evenly between two values.
    Even(u64, u64),
    /// Each power of ten as wide as the next; values below the first are drawn there.
    Tens(u64, u64),
}

impl Scale {
    /// Where a value is, of [`WIDTH`].
    fn place(self, value: u64) -> u64 {
        match self {
            Self::Even(low, high) => (value.clamp(low, high) - low) * WIDTH / (high - low).max(1),
            Self::Tens(low, high) => {
                let value = value.clamp(low, high);
                (magnitude(value) - magnitude(low)) * WIDTH / (magnitude(high) - magnitude(low)).max(1)
            }
        }
    }

    /// The values that the axis names.
    fn ticks(self) -> Vec<u64> {
        match self {
            Self::Even(low, high) => (0..=4).map(|n| low + (high - low) * n / 4).collect(),
            Self::Tens(low, high) => {
                std::iter::successors(Some(low), |n| n.checked_mul(10)).take_while(|n| *n <= high).collect()
            }
        }
    }
}

/// The logarithm to the base of two, in thousandths, with straight lines between the powers.
fn magnitude(n: u64) -> u64 {
    let power = n.max(1).ilog2();
    let low = 1_u64 << power;
    u64::from(power) * 1_000 + (n.max(1) - low) * 1_000 / low
}

/// One value of a row: which series, and what.
#[derive(Debug, Clone, Copy)]
pub struct Dot {
    /// The number of its series, which is its colour.
    pub series: usize,
    /// Its value.
    pub value: u64,
}

/// A row of dots.
#[derive(Debug)]
pub struct Row<'a> {
    /// What they are about.
    pub label: &'a str,
    /// What the values are to keep on one side of.
    pub limit: Option<u64>,
    /// The values.
    pub dots: Vec<Dot>,
}

/// Rows of dots on one axis.
#[derive(Debug)]
pub struct Dots<'a> {
    /// What it shows.
    pub title: &'a str,
    /// More about it.
    pub about: &'a str,
    /// The names of the series.
    pub series: &'a [&'a str],
    /// Where a series' colour begins in the page's palette.
    pub colours: &'a str,
    /// How values become places.
    pub scale: Scale,
    /// Writes a value.
    pub text: fn(u64) -> String,
    /// The rows, from the top.
    pub rows: Vec<Row<'a>>,
}

impl Dots<'_> {
    /// Adds the plot to a page.
    pub fn draw(&self, html: &mut String) {
        let rows = u64::try_from(self.rows.len()).unwrap_or(0);
        let (width, height) = (LABEL + WIDTH + RIGHT, rows * ROW + AXIS);
        push(html, format_args!("<figure><figcaption><b>{}</b> {}", escape(self.title), escape(self.about)));
        push(html, format_args!("<span class=legend>"));
        for (n, name) in self.series.iter().enumerate() {
            push(html, format_args!("<i class={}{n}></i>{}", self.colours, escape(name)));
        }
        if self.rows.iter().any(|row| row.limit.is_some()) {
            html.push_str("<i class=limit></i>kept");
        }
        push(html, format_args!("</span></figcaption><svg viewBox=\"0 0 {width} {height}\" role=\"img\">"));
        for tick in self.scale.ticks() {
            let (x, text) = (LABEL + self.scale.place(tick), short(&(self.text)(tick)));
            let foot = rows * ROW;
            push(html, format_args!("<path class=grid d=\"M{x} 0V{foot}\"/>"));
            push(html, format_args!("<text x={x} y={} class=tick>{text}</text>", foot + 16));
        }
        for (row, n) in self.rows.iter().zip(0_u64..) {
            self.row(html, row, n * ROW + ROW / 2);
        }
        html.push_str("</svg></figure>");
    }

    fn row(&self, html: &mut String, Row { label, limit, dots }: &Row<'_>, y: u64) {
        push(html, format_args!("<text x={} y={} class=label>{}</text>", LABEL - 10, y + 4, escape(label)));
        let places = dots.iter().map(|dot| self.scale.place(dot.value));
        if let (Some(first), Some(last)) = (places.clone().min(), places.max()) {
            push(html, format_args!("<path class=span d=\"M{} {y}H{}\"/>", LABEL + first, LABEL + last));
        }
        if let Some(limit) = limit {
            let (x, top) = (LABEL + self.scale.place(*limit), y - ROW / 2 + 2);
            push(html, format_args!("<path class=limit d=\"M{x} {top}v{}\"/>", ROW - 4));
        }
        // The first series is drawn last, so that it is seen where all are the same.
        for dot in dots.iter().rev() {
            let (x, name) = (LABEL + self.scale.place(dot.value), self.series[dot.series]);
            push(html, format_args!("<circle class={}{} cx={x} cy={y} r=5>", self.colours, dot.series));
            let value = (self.text)(dot.value);
            push(html, format_args!("<title>{}, {}: {value}</title></circle>", escape(label), escape(name)));
        }
    }
}

/// Lines over the seconds of a run.
#[derive(Debug)]
pub struct Lines<'a> {
    /// What it shows.
    pub title: &'a str,
    /// More about it.
    pub about: &'a str,
    /// What is marked: a second and its name.
    pub mark: (u64, &'a str),
    /// How many seconds it has.
    pub seconds: u64,
    /// Names, values per second, and the scale's top of each line.
    pub lines: [(&'a str, &'a BTreeMap<u64, u64>, u64); 3],
}

impl Lines<'_> {
    /// Adds the plot to a page.
    pub fn draw(&self, html: &mut String) {
        let (left, width, last) = (44, WIDTH + LABEL - 44, self.seconds.max(1));
        push(html, format_args!("<figure><figcaption><b>{}</b> {}", escape(self.title), escape(self.about)));
        html.push_str("<span class=legend>");
        for (n, (name, _, _)) in self.lines.iter().enumerate() {
            push(html, format_args!("<i class=line{n}></i>{}", escape(name)));
        }
        let viewed = LABEL + WIDTH + RIGHT;
        push(
            html,
            format_args!("</span></figcaption><svg viewBox=\"0 0 {viewed} {}\" role=img>", HEIGHT + 30),
        );
        let top = self.lines[0].2;
        for part in 0..=2 {
            let y = 6 + HEIGHT - part * HEIGHT / 2;
            push(html, format_args!("<path class=grid d=\"M{left} {y}h{width}\"/>"));
            push(
                html,
                format_args!("<text x={} y={} class=label>{}</text>", left - 6, y + 4, top * part / 2),
            );
        }
        for second in (0..=last).step_by(if last > 60 { 20 } else { 10 }) {
            let x = left + second * width / last;
            push(html, format_args!("<text x={x} y={} class=tick>{second} s</text>", HEIGHT + 22));
        }
        let x = left + self.mark.0 * width / last;
        push(html, format_args!("<path class=mark d=\"M{x} 6v{HEIGHT}\"/>"));
        push(html, format_args!("<text x={} y=16 class=note>{}</text>", x + 4, escape(self.mark.1)));
        for (n, (_, values, top)) in self.lines.iter().enumerate().rev() {
            let points = (0..last).map(|second| {
                let value = values.get(&second).copied().unwrap_or(0).min(*top);
                format!("{},{}", left + second * width / last, 6 + HEIGHT - value * HEIGHT / (*top).max(1))
            });
            let points: Vec<String> = points.collect();
            push(html, format_args!("<polyline class=line{n} points=\"{}\"/>", points.join(" ")));
        }
        html.push_str("</svg></figure>");
    }
}

/// Adds formatted text.
pub fn push(html: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing into a string cannot fail.
    html.write_fmt(text).unwrap_or_default();
}

/// A number without zeros at its end, and its unit: `0.01`, `25 %`.
fn short(text: &str) -> String {
    let (number, unit) = text.split_at(text.find(' ').unwrap_or(text.len()));
    let number =
        if number.contains('.') { number.trim_end_matches('0').trim_end_matches('.') } else { number };
    format!("{number}{unit}")
}

/// Text that is no markup.
#[must_use]
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_keep_their_order_and_their_ends() {
        for scale in [Scale::Even(0, 600), Scale::Tens(1, 100_000)] {
            let places: Vec<u64> = [0, 1, 5, 40, 450, 600].map(|value| scale.place(value)).to_vec();
            assert!(places.is_sorted(), "{scale:?}: {places:?}");
        }
        assert_eq!((Scale::Tens(1, 1_000).place(0), Scale::Tens(1, 1_000).place(5_000)), (0, WIDTH));
        assert_eq!(Scale::Tens(1, 1_000).ticks(), [1, 10, 100, 1_000]);
        let short = ["0.0100", "1.0000", "25.00 %", "99.50 %", "100 ms"].map(short);
        assert_eq!(short, ["0.01", "1", "25 %", "99.5 %", "100 ms"]);
        assert_eq!(escape("a<b & \"c\""), "a&lt;b &amp; &quot;c&quot;");
    }
}
