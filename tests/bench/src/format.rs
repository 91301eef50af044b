//! Numbers for people, and tables. It must never round a failure away.

/// `12,345`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && digits.len().saturating_sub(at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Thousandths with two decimals, rounded: `4.60`.
pub(crate) fn hundredths(milli: u64) -> String {
    let rounded = milli.saturating_add(5).div_euclid(10);
    format!("{}.{:02}", grouped(rounded.div_euclid(100)), rounded.rem_euclid(100))
}

/// Thousandths with one decimal, rounded: `96.2`.
pub(crate) fn tenths(milli: u64) -> String {
    let rounded = milli.saturating_add(50).div_euclid(100);
    format!("{}.{}", grouped(rounded.div_euclid(10)), rounded.rem_euclid(10))
}

/// A difference of thousandths with its sign: `+0.12`.
pub(crate) fn difference(milli: u64, from_milli: u64) -> String {
    if milli >= from_milli {
        format!("+{}", hundredths(milli.saturating_sub(from_milli)))
    } else {
        format!("-{}", hundredths(from_milli.saturating_sub(milli)))
    }
}

/// A number that may be missing.
pub(crate) fn or_dash(number: Option<u64>, show: fn(u64) -> String) -> String {
    number.map_or_else(|| "–".to_owned(), show)
}

/// A Markdown table whose columns line up; the first is text, the others are numbers.
pub(crate) fn table<const COLUMNS: usize>(head: [&str; COLUMNS], rows: &[[String; COLUMNS]]) -> String {
    let head = head.map(str::to_owned);
    let width = |column: usize| {
        let cells = std::iter::once(&head).chain(rows).filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or_default().max(3)
    };
    let widths: Vec<usize> = (0..COLUMNS).map(width).collect();
    let line = |cells: &[String; COLUMNS]| {
        let cells = cells.iter().zip(&widths).enumerate().map(|(column, (cell, width))| {
            if column == 0 { format!(" {cell:<width$} ") } else { format!(" {cell:>width$} ") }
        });
        format!("|{}|\n", cells.collect::<Vec<_>>().join("|"))
    };
    let rule = widths.iter().enumerate().map(|(column, width)| {
        let dashes = "-".repeat(*width);
        if column == 0 {
            format!(" {dashes} ")
        } else {
            format!(" {}: ", dashes.get(1..).unwrap_or_default())
        }
    });
    let rule = format!("|{}|\n", rule.collect::<Vec<_>>().join("|"));
    std::iter::once(line(&head)).chain([rule]).chain(rows.iter().map(line)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_and_rounded() {
        for (number, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(number), text);
        }
        for (milli, two, one) in
            [(0, "0.00", "0.0"), (4_604, "4.60", "4.6"), (995, "1.00", "1.0"), (49, "0.05", "0.0")]
        {
            assert_eq!((hundredths(milli).as_str(), tenths(milli).as_str()), (two, one));
        }
        assert_eq!((difference(620, 500).as_str(), difference(500, 620).as_str()), ("+0.12", "-0.12"));
    }

    #[test]
    fn tables_line_up() {
        let rows = [["a".to_owned(), "1".to_owned()], ["longer".to_owned(), "2,000".to_owned()]];
        let expected = "| x      |   rps |\n| ------ | ----: |\n| a      |     1 |\n| longer | 2,000 |\n";
        assert_eq!(table(["x", "rps"], &rows), expected);
    }
}
