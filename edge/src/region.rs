//! Which sub-home an isolate belongs to: its region first, then a hash of its holder's id.
//!
//! All of a project's sub-homes are dealt to the regions in fixed shares, so that nobody has to ask
//! how many there are where. An isolate that knows no region belongs to the region of all others.

use shared::home::HomeName;
use shared::lease::message::HolderId;

/// The regions that get several sub-homes, by the platform's two letters of the continent, and how
/// many in eight: roughly where traffic comes from. All others share [`OTHERS`].
const SHARES: [(&str, u32); 3] = [("NA", 3), ("EU", 2), ("AS", 2)];
/// Africa, South America, Oceania, Antarctica, and places that are not told.
const OTHERS: &str = "others";
/// A place that is set by hand is the only one there is.
const ALL: u32 = 8;

/// Where an isolate is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Region {
    name: String,
    eighths: u32,
}

impl Region {
    /// The region that the deployment names, else that of the request's continent.
    pub(crate) fn of(setting: &str, continent: &str) -> Self {
        let of = |name: &str, eighths| Self { name: name.to_ascii_lowercase(), eighths };
        let plain = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if plain(setting) {
            return of(setting, ALL);
        }
        let share = SHARES.into_iter().find(|(name, _)| *name == continent);
        share.map_or_else(|| of(OTHERS, 1), |(name, eighths)| of(name, eighths))
    }

    /// The name of the holder's sub-home, where the project has `count` of them in all.
    pub(crate) fn sub_home(&self, home: &HomeName, holder: HolderId, count: u32) -> String {
        let here = count.saturating_mul(self.eighths).div_ceil(ALL).max(1);
        format!("{home}/{}/{}", self.name, holder.sub_home(here))
    }
}

impl Default for Region {
    fn default() -> Self {
        Self::of("", "")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_share_the_sub_homes_and_a_named_one_has_all() {
        let home = HomeName::parse("demo/live").unwrap();
        let names = |region: Region, count| {
            let holders = (0..999_u128).map(|n| HolderId::from_bits(n << 64));
            let all: std::collections::BTreeSet<String> =
                holders.map(|holder| region.sub_home(&home, holder, count)).collect();
            (all.len(), all.into_iter().next().unwrap())
        };
        let cases = [
            (("", "NA"), 8, 3, "demo/live/na/0"),
            (("", "EU"), 8, 2, "demo/live/eu/0"),
            (("", "OC"), 8, 1, "demo/live/others/0"),
            (("", ""), 32, 4, "demo/live/others/0"),
            (("", "NA"), 1, 1, "demo/live/na/0"),
            (("here", "NA"), 8, 8, "demo/live/here/0"),
            (("../x", "NA"), 8, 3, "demo/live/na/0"),
        ];
        for ((setting, continent), count, here, first) in cases {
            assert_eq!(names(Region::of(setting, continent), count), (here, first.to_owned()), "{continent}");
        }
    }
}
