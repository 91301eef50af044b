//! Planted bugs: those of the core, and those of the shells around it that the simulator stands for.

/// A mistake in a shell: the order of effects, or the aggregator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShellBug {
    /// The home's reply leaves before its rows are stored.
    HomeSendsBeforePersist,
    /// The sub-home's reply leaves before its rows are stored.
    SubHomeSendsBeforePersist,
    /// The aggregator takes the last report of a cell instead of the largest.
    LastWriteWins,
    /// The aggregator acknowledges a flush before it is stored.
    AckBeforePersist,
    /// The aggregator remembers crossings in memory only.
    VolatileCrossings,
    /// The aggregator adds what a flush says to what it has.
    DeltaMerge,
    /// An isolate that comes back uses its old id with fresh nonces.
    IdReused,
}

impl ShellBug {
    /// Every shell bug.
    pub const ALL: &'static [Self] = &[
        Self::HomeSendsBeforePersist,
        Self::SubHomeSendsBeforePersist,
        Self::LastWriteWins,
        Self::AckBeforePersist,
        Self::VolatileCrossings,
        Self::DeltaMerge,
        Self::IdReused,
    ];
}

/// What is planted in a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Planted {
    /// A bug of a shell.
    pub shell: Option<ShellBug>,
    /// A bug of the core.
    #[cfg(feature = "planted")]
    pub core: Option<shared::planted::Bug>,
}

impl Planted {
    /// The bug of that name, if it is compiled in.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let shell = ShellBug::ALL.iter().find(|bug| format!("{bug:?}") == name);
        if let Some(bug) = shell {
            return Some(Self {
                shell: Some(*bug),
                #[cfg(feature = "planted")]
                core: None,
            });
        }
        #[cfg(feature = "planted")]
        if let Some(bug) = shared::planted::Bug::ALL.iter().find(|bug| format!("{bug:?}") == name) {
            return Some(Self { core: Some(*bug), ..Self::default() });
        }
        None
    }

    /// Switches the core's bug on for this thread.
    pub fn plant(self) {
        #[cfg(feature = "planted")]
        shared::planted::plant(self.core);
    }
}
