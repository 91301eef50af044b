//! A setting: what is said of it, and how it is read.

/// A setting: what is said of it, and how it is read.
#[derive(Debug)]
pub struct Setting<T> {
    /// What is said of it.
    pub row: Row,
    /// How its text is read; a refusal says what is accepted.
    pub parse: fn(&str) -> Result<T, String>,
}

/// What is said of a setting.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// The variable.
    pub name: &'static str,
    /// Who reads it, where a table is about several programs.
    pub who: Option<&'static str>,
    /// What is read where it is not set.
    pub default: &'static str,
    /// What that means, where the default does not say it.
    pub meaning: Option<&'static str>,
    /// What it is for, in Markdown.
    pub says: &'static str,
}

/// Declares a static [`Setting`] for each row, and `ROWS` with all of them in their order.
///
/// A row is `NAME: Type = "who" "VARIABLE" "default" ("what the default means"), parse, "what it is for";`, where who
/// reads it and what the default means may be left out.
#[macro_export]
macro_rules! settings {
    ($($setting:ident: $type:ty = $who:literal $name:literal $default:literal $(($meaning:literal))?, $parse:expr, $says:literal;)*) => {
        $crate::settings!(@each $($setting: $type = (Some($who)) $name $default ([$(Some($meaning),)? None][0]), $parse, $says;)*);
    };
    ($($setting:ident: $type:ty = $name:literal $default:literal $(($meaning:literal))?, $parse:expr, $says:literal;)*) => {
        $crate::settings!(@each $($setting: $type = (None) $name $default ([$(Some($meaning),)? None][0]), $parse, $says;)*);
    };
    (@each $($setting:ident: $type:ty = $who:tt $name:literal $default:literal $meaning:tt, $parse:expr, $says:literal;)*) => {
        $(
            pub(super) static $setting: $crate::Setting<$type> = $crate::Setting {
                row: $crate::Row { name: $name, who: $who, default: $default, meaning: $meaning, says: $says },
                parse: $parse,
            };
        )*

        /// Every setting, as it is listed.
        pub static ROWS: &[&$crate::Row] = &[$(&$setting.row),*];
    };
}

impl Row {
    /// The row of the table in the documents.
    #[must_use]
    pub fn markdown(&self) -> String {
        let Self { name, who, default, meaning, says } = self;
        let who = who.map(|who| format!("{who} | ")).unwrap_or_default();
        let default = meaning.map_or_else(|| format!("`{default}`"), str::to_owned);
        format!("| `{name}` | {who}{default} | {says} |")
    }
}

/// The settings as `--help` lists them.
#[must_use]
pub fn help(rows: &[&Row]) -> String {
    let row = |Row { name, default, meaning, says, .. }: &Row| {
        let default = meaning.unwrap_or(default);
        format!("  {name} ({default})\n          {says}\n").replace('`', "")
    };
    let rows: String = rows.iter().map(|setting| row(setting)).collect();
    format!("Settings, read from the environment, and what holds without them:\n{rows}")
}

#[cfg(test)]
mod tests {
    use crate::switch;

    #[expect(unreachable_pub, reason = "programs show their rows to others")]
    mod shared {
        crate::settings! {
            LISTEN: bool = "both" "METER_X" "0", super::switch, "`1` listens";
            OTHER: String = "edge" "METER_Y" "" ("none"), |text| Ok(text.to_owned()), "another";
        }
    }

    #[expect(unreachable_pub, reason = "programs show their rows to others")]
    mod own {
        crate::settings! {
            LISTEN: bool = "METER_X" "0", super::switch, "`1` listens";
            OTHER: String = "METER_Y" "" ("none"), |text| Ok(text.to_owned()), "another";
        }
    }

    #[test]
    fn a_row_is_declared_once_and_listed_twice() {
        let lines: Vec<String> = shared::ROWS.iter().map(|row| row.markdown()).collect();
        assert_eq!(
            lines,
            ["| `METER_X` | both | `0` | `1` listens |", "| `METER_Y` | edge | none | another |"]
        );
        let lines: Vec<String> = own::ROWS.iter().map(|row| row.markdown()).collect();
        assert_eq!(lines, ["| `METER_X` | `0` | `1` listens |", "| `METER_Y` | none | another |"]);
        let help = crate::help(own::ROWS);
        assert!(
            help.ends_with("  METER_X (0)\n          1 listens\n  METER_Y (none)\n          another\n"),
            "{help}"
        );
        assert_eq!((own::LISTEN.parse)("1"), Ok(true));
        assert!(
            (shared::OTHER.parse)("x").is_ok()
                && (own::OTHER.parse)("x").is_ok()
                && (shared::LISTEN.parse)("2").is_err()
        );
    }
}
