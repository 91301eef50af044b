//! Reads settings one by one and notes what is refused, so that all of it is told at once.

use crate::{Row, Setting};

/// Everything that is wrong with the environment, a line for each variable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct ConfigError(pub Vec<String>);

/// What reads settings.
pub struct Reader<'a> {
    get: &'a dyn Fn(&str) -> Option<String>,
    problems: Vec<String>,
}

impl std::fmt::Debug for Reader<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").field("problems", &self.problems).finish_non_exhaustive()
    }
}

impl<'a> Reader<'a> {
    /// Reads the variables that `get` gives; `problems` are known already.
    #[must_use]
    pub fn new(get: &'a dyn Fn(&str) -> Option<String>, problems: Vec<String>) -> Self {
        Self { get, problems }
    }

    /// What a setting is, where an empty one counts as unset; where it is refused, that is noted.
    pub fn value<T>(&mut self, Setting { row, parse }: &Setting<T>) -> Option<T> {
        let text = self.text(row.name).filter(|text| !text.trim().is_empty());
        let text = text.unwrap_or_else(|| row.default.to_owned());
        parse(text.trim()).map_err(|why| self.refuse(row, &why)).ok()
    }

    /// A variable as it is.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<String> {
        (self.get)(name)
    }

    /// Notes why a setting is refused.
    pub fn refuse(&mut self, row: &Row, why: &str) {
        self.problems.push(format!("{}: {why}", row.name));
    }

    /// What was read, where nothing was refused.
    ///
    /// # Errors
    /// All that was refused.
    pub fn finish<T>(self, read: Option<T>) -> Result<T, ConfigError> {
        read.filter(|_| self.problems.is_empty()).ok_or(ConfigError(self.problems))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::switch;

    #[expect(unreachable_pub, reason = "programs show their rows to others")]
    mod settings {
        crate::settings! {
            ONE: bool = "METER_ONE" "1", super::switch, "one";
            TWO: bool = "METER_TWO" "0", super::switch, "two";
        }
    }

    fn read(one: &str, two: &str) -> Result<(bool, bool), ConfigError> {
        let get = |name: &str| Some(if name == "METER_ONE" { one } else { two }.to_owned());
        let mut reader = Reader::new(&get, Vec::new());
        let (one, two) = (reader.value(&settings::ONE), reader.value(&settings::TWO));
        reader.finish(one.zip(two))
    }

    #[test]
    fn all_that_is_refused_is_told_at_once_and_by_name() {
        assert_eq!(read(" ", ""), Ok((true, false)), "an empty one is the default");
        assert_eq!(read(" 0 ", "1"), Ok((false, true)));
        let refused = read("yes", "no").unwrap_err();
        assert_eq!(
            refused.to_string(),
            "METER_ONE: got \"yes\", accepted are 0 and 1\nMETER_TWO: got \"no\", accepted are 0 and 1"
        );
        assert_eq!(settings::ROWS.len(), 2);
        let known = Reader::new(&|_| None, vec!["METER_X: nothing reads it".to_owned()]);
        assert!(known.finish(Some(())).is_err(), "what was known before counts");
    }
}
