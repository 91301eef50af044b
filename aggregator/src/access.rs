//! Who may do what. The rules are here and nowhere else; the extractors in `http` only ask.

use std::fmt;

use shared::ids::ProjectId;

/// What a member of a project is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Everything that a project's members may do.
    Owner,
    /// Reads the project, manages its keys and what it may spend.
    Admin,
    /// Reads the project and manages what it may spend.
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
}

impl Scope {
    /// The role's name, `operator` for operators.
    #[must_use]
    pub fn role_name(&self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Project { role, .. } => role.as_str(),
        }
    }

    /// Whether this scope may know that `project` exists.
    #[must_use]
    pub fn reaches(&self, project: &ProjectId) -> bool {
        match self {
            Self::Operator => true,
            Self::Project { project: own, .. } => own == project,
        }
    }

    /// Whether this scope may do that, in a project that it reaches.
    #[must_use]
    pub fn may(&self, what: Permission) -> bool {
        match (what, self) {
            (_, Self::Operator) => true,
            (Permission::Read, Self::Project { .. }) => true,
            (Permission::ManageKeys, Self::Project { role, .. }) => match role {
                Role::Owner | Role::Admin => true,
                Role::Finance | Role::Viewer => false,
            },
            (Permission::ManageBilling, Self::Project { role, .. }) => match role {
                Role::Owner | Role::Admin | Role::Finance => true,
                Role::Viewer => false,
            },
            (Permission::Operate, Self::Project { .. }) => false,
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
    /// Sets what a project may spend beyond its plan.
    ManageBilling,
    /// Makes projects, sets their limits, hands out tokens.
    Operate,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_role_may_do_exactly_this() {
        let id = |text| ProjectId::parse(text).unwrap();
        let cases = [
            (Role::Owner, [true, true, true, false]),
            (Role::Admin, [true, true, true, false]),
            (Role::Finance, [true, false, true, false]),
            (Role::Viewer, [true, false, false, false]),
        ];
        for (role, expected) in cases {
            let scope = Scope::Project { project: id("own"), role };
            let rights =
                [Permission::Read, Permission::ManageKeys, Permission::ManageBilling, Permission::Operate];
            let got = rights.map(|what| scope.may(what));
            assert_eq!(got, expected, "{role}");
            assert!(scope.reaches(&id("own")) && !scope.reaches(&id("other")));
            assert!(Scope::Operator.may(Permission::Operate) && Scope::Operator.reaches(&id("other")));
        }
    }
}
