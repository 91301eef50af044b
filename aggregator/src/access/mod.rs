//! Who may do what. The rules are here and nowhere else; the extractors in `http` only ask.

pub mod account;
pub mod attempts;
pub mod errand;
pub mod member;
#[cfg(feature = "server")]
pub mod password;
pub mod session;
pub mod stranger;
pub mod token;
pub mod trail;

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use shared::ids::ProjectId;

/// What is accepted as a role, in words.
pub const ROLES: &str = "owner, admin, finance or viewer";

/// What a member of a project is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Everything that a project's members may do.
    Owner,
    /// Reads the project and its audit log, manages its keys, webhooks and what it may spend.
    Admin,
    /// Reads the project, manages what it may spend and pays for it.
    Finance,
    /// Reads the project.
    Viewer,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 4] = [Self::Owner, Self::Admin, Self::Finance, Self::Viewer];

    /// The role's name on the wire, in storage and on the command line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Admin => "admin",
            Self::Finance => "finance",
            Self::Viewer => "viewer",
        }
    }

    /// The role of that name, if there is one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == text)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a token reaches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// Every project: the people who run the meter.
    Operator,
    /// One project, in one role.
    Project {
        /// Which.
        project: ProjectId,
        /// As what.
        role: Role,
    },
    /// What was served elsewhere of one project: a program that reports it, and reads nothing.
    Emitter {
        /// Which.
        project: ProjectId,
    },
}

impl Scope {
    /// The role's name, `operator` for operators.
    #[must_use]
    pub fn role_name(&self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Project { role, .. } => role.as_str(),
            Self::Emitter { .. } => token::TokenRole::EMITTER,
        }
    }

    /// Whether this scope may know that `project` exists.
    #[must_use]
    pub fn reaches(&self, project: &ProjectId) -> bool {
        match self {
            Self::Operator => true,
            Self::Project { project: own, .. } | Self::Emitter { project: own } => own == project,
        }
    }

    /// Whether this scope may do that, in a project that it reaches.
    #[must_use]
    pub fn may(&self, what: Permission) -> bool {
        match self {
            Self::Operator => true,
            Self::Project { role, .. } => what.roles().contains(role),
            Self::Emitter { .. } => what == Permission::ReportUnits,
        }
    }
}

/// What an endpoint does, as far as permission goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permission {
    /// Sees a project and its usage.
    Read,
    /// Makes and revokes a project's keys.
    ManageKeys,
    /// Sets what a project may spend beyond its plan, and pays for it.
    ManageBilling,
    /// Sets where a project's events are told.
    ManageWebhooks,
    /// Makes, changes and removes a project's members.
    ManageMembers,
    /// Sees who changed what in a project.
    ReadAudit,
    /// Makes projects, sets their limits, gives credits.
    Operate,
    /// Has units counted that were served elsewhere.
    ReportUnits,
}

impl Permission {
    /// Every permission.
    pub const ALL: [Self; 8] = [
        Self::Read,
        Self::ManageKeys,
        Self::ManageBilling,
        Self::ManageWebhooks,
        Self::ManageMembers,
        Self::ReadAudit,
        Self::Operate,
        Self::ReportUnits,
    ];

    /// The roles of a project's members that have it; operators have every permission in every project.
    #[must_use]
    pub const fn roles(self) -> &'static [Role] {
        match self {
            Self::Read => &[Role::Owner, Role::Admin, Role::Finance, Role::Viewer],
            Self::ManageBilling => &[Role::Owner, Role::Admin, Role::Finance],
            Self::ManageKeys | Self::ManageWebhooks | Self::ReadAudit => &[Role::Owner, Role::Admin],
            Self::ManageMembers => &[Role::Owner],
            // What is billed is said by those who serve it, never by those who pay.
            Self::Operate | Self::ReportUnits => &[],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_role_may_do_exactly_this() {
        let id = |text| ProjectId::parse(text).unwrap();
        let cases = [
            (Role::Owner, [true, true, true, true, true, true, false, false]),
            (Role::Admin, [true, true, true, true, false, true, false, false]),
            (Role::Finance, [true, false, true, false, false, false, false, false]),
            (Role::Viewer, [true, false, false, false, false, false, false, false]),
        ];
        for (role, expected) in cases {
            let scope = Scope::Project { project: id("own"), role };
            let got = Permission::ALL.map(|what| scope.may(what));
            assert_eq!(got, expected, "{role}");
            assert!(scope.reaches(&id("own")) && !scope.reaches(&id("other")));
            assert!(Scope::Operator.may(Permission::Operate) && Scope::Operator.reaches(&id("other")));
        }
        let emitter = Scope::Emitter { project: id("own") };
        let may: Vec<_> = Permission::ALL.into_iter().filter(|what| emitter.may(*what)).collect();
        assert_eq!(may, [Permission::ReportUnits]);
        assert!(emitter.reaches(&id("own")) && !emitter.reaches(&id("other")));
    }
}
