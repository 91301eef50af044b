//! The audit log's words: who changes something, and what. Pure; the rows are written in `store::trail`.

use std::fmt;

use serde::Serialize;
use shared::ids::ProjectId;

use crate::access::Scope;
use crate::access::account::Account;
use crate::projects::project::Project;

/// Who changes something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Actor {
    /// The holder of a token.
    Token {
        /// The token's id, which is no secret.
        id: String,
        /// `owner`, `admin`, `finance`, `viewer` or `operator`.
        role: &'static str,
    },
    /// Somebody who signed in.
    Person {
        /// The account's id. Whose that is, is looked up when it is shown: what is noted can never be erased again.
        account: String,
        /// `owner`, `admin`, `finance`, `viewer`, `operator`, or `person` where no project is concerned.
        role: &'static str,
    },
    /// Somebody at the operator's command line.
    Command {
        /// The user's name on that machine.
        user: String,
    },
    /// The meter by itself.
    Job(&'static str),
}

impl Actor {
    /// The holder of a token.
    #[must_use]
    pub fn token(id: &str, scope: &Scope) -> Self {
        Self::Token { id: id.to_owned(), role: scope.role_name() }
    }

    /// A person who signed in, where nothing else than the account is concerned.
    #[must_use]
    pub fn person(account: &Account) -> Self {
        let role = if account.operator { Scope::Operator.role_name() } else { "person" };
        Self::Person { account: account.id.clone(), role }
    }

    /// What kind of actor it is, in one word.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Token { .. } => "token",
            Self::Person { .. } => "person",
            Self::Command { .. } => "command",
            Self::Job(_) => "job",
        }
    }

    /// Its name among those of its kind.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Token { id, .. } => id,
            Self::Person { account, .. } => account,
            Self::Command { user } => user,
            Self::Job(name) => name,
        }
    }

    /// In which role it acts.
    #[must_use]
    pub fn role(&self) -> &'static str {
        match self {
            Self::Token { role, .. } | Self::Person { role, .. } => role,
            Self::Command { .. } => "operator",
            Self::Job(_) => "meter",
        }
    }
}

macro_rules! actions {
    ($($(#[$doc:meta])* $name:ident => $text:literal;)*) => {
        /// What was done. Whoever adds something that can be changed adds its line.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Action {
            $($(#[$doc])* $name,)*
        }

        impl Action {
            /// Every action.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The action as the audit log has it.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

actions! {
    /// A project was made.
    ProjectCreated => "project.created";
    /// A project's plan, limits or status were changed.
    ProjectChanged => "project.changed";
    /// A project was brought to another version of the plan catalogue.
    ProjectMigrated => "project.migrated";
    /// A project's homes are to be at another place, and end in order where they are.
    HomesLeave => "homes.leave";
    /// A project's homes are at another place.
    HomesArrived => "homes.arrived";
    /// A version of the plan catalogue was applied.
    CatalogueApplied => "catalogue.applied";
    /// The clock of a meter for tests was moved.
    ClockMoved => "clock.moved";
    /// A key was made.
    KeyCreated => "key.created";
    /// A key was replaced by another and will stop being accepted.
    KeyRotated => "key.rotated";
    /// A key was revoked.
    KeyRevoked => "key.revoked";
    /// A token was made.
    TokenCreated => "token.created";
    /// A token was revoked.
    TokenRevoked => "token.revoked";
    /// An account was made.
    AccountCreated => "account.created";
    /// An account was disabled, with all sessions.
    AccountDisabled => "account.disabled";
    /// An account was erased, with all that says whose it was.
    AccountErased => "account.erased";
    /// A link that signs in was made.
    LinkCreated => "sign_in_link.created";
    /// A person of an identity provider signed in to an account for the first time.
    IdentityBound => "account.identity_bound";
    /// A person signed in.
    SignedIn => "session.began";
    /// A person signed out.
    SignedOut => "session.ended";
    /// A person set a password.
    PasswordSet => "password.set";
    /// A person was invited to a project.
    MemberInvited => "member.invited";
    /// An invitation was withdrawn.
    InvitationWithdrawn => "invitation.withdrawn";
    /// A member was added.
    MemberAdded => "member.added";
    /// A member's role was changed.
    MemberChanged => "member.changed";
    /// A member was removed, with all tokens.
    MemberRemoved => "member.removed";
    /// A webhook was made.
    WebhookCreated => "webhook.created";
    /// A webhook was changed, turned off or on.
    WebhookChanged => "webhook.changed";
    /// A webhook was deleted.
    WebhookDeleted => "webhook.deleted";
    /// A webhook got a new secret.
    WebhookRotated => "webhook.rotated";
    /// A test was sent to a webhook.
    WebhookTested => "webhook.tested";
    /// Deliveries to a webhook were begun anew.
    WebhookReplayed => "webhook.replayed";
    /// Auto-overage or its cap were set.
    OverageSet => "overage.set";
    /// Automatic top-ups were set, changed or turned off, or go on with another payment method.
    AutoTopUpSet => "auto_top_up.set";
    /// A pack is bought by itself.
    AutoTopUpBegun => "auto_top_up.begun";
    /// Automatic top-ups have stopped, because payments failed.
    AutoTopUpStopped => "auto_top_up.stopped";
    /// A subscription at Stripe gave, took or planned a plan.
    SubscriptionFollowed => "subscription.followed";
    /// A payment is overdue.
    PaymentOverdue => "payment.overdue";
    /// What was overdue is paid.
    PaymentRecovered => "payment.recovered";
    /// A project fell to community, because what was overdue was not paid within its grace.
    PlanFell => "plan.fell";
    /// A parked event, a held order or a held bill is processed again.
    PaymentRetried => "payment.retried";
    /// Stripe's products, prices and portal are made what the plan catalogue says.
    StripeSynced => "stripe.synced";
    /// Units were given.
    CreditGiven => "credit.given";
    /// Units of a closed month were taken back.
    BillCorrected => "bill.corrected";
    /// Months were closed.
    PeriodsClosed => "periods.closed";
    /// A contract was made.
    ContractCreated => "contract.created";
    /// A contract was given an end.
    ContractEnded => "contract.ended";
    /// A project came under its contract.
    ContractBegan => "contract.began";
    /// A project left its contract, because the term is over.
    ContractLeft => "contract.left";
    /// The minimum of a contract's month was waived.
    MinimumWaived => "contract.minimum_waived";
    /// A month of a contract was invoiced, or what was invoiced put right.
    ContractInvoiced => "contract.invoiced";
    /// An invoice was made at Stripe for what a month of a contract came to.
    ContractCollected => "contract.collected";
    /// A reporter was made.
    ReporterCreated => "reporter.created";
    /// Another data folder reports under a reporter's name from now on.
    ReporterPromoted => "reporter.promoted";
    /// A reporter was retired.
    ReporterRetired => "reporter.retired";
    /// A key of a reporter was made.
    ReporterKeyCreated => "reporter_key.created";
    /// A key of a reporter was revoked.
    ReporterKeyRevoked => "reporter_key.revoked";
    /// A quarantined cell was merged after all.
    QuarantineAccepted => "quarantine.accepted";
    /// A quarantined cell was thrown away.
    QuarantineDropped => "quarantine.dropped";
}

impl Action {
    /// The action of that name, if there is one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|action| action.as_str() == text)
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A line for the audit log: what was done to what, and how that differs. It must never hold a secret.
#[derive(Debug)]
pub struct Deed<'a> {
    /// In which project; `None` is in none.
    pub project: Option<&'a ProjectId>,
    /// What was done.
    pub action: Action,
    /// To what: an id.
    pub target: &'a str,
    /// What was before, as JSON.
    pub was: Option<String>,
    /// What is now, as JSON.
    pub became: Option<String>,
}

impl<'a> Deed<'a> {
    /// Something was done to a thing of a project.
    #[must_use]
    pub fn new(project: &'a ProjectId, action: Action, target: &'a str) -> Self {
        Self { project: Some(project), action, target, was: None, became: None }
    }

    /// Something was done to a thing that is of no project.
    #[must_use]
    pub fn apart(action: Action, target: &'a str) -> Self {
        Self { project: None, action, target, was: None, became: None }
    }

    /// What was before.
    #[must_use]
    pub fn was(self, was: &impl Serialize) -> Self {
        Self { was: json(was), ..self }
    }

    /// What is now.
    #[must_use]
    pub fn became(self, became: &impl Serialize) -> Self {
        Self { became: json(became), ..self }
    }
}

fn json(value: &impl Serialize) -> Option<String> {
    // What is noted are plain structures of ours, which always can be written.
    serde_json::to_string(value).ok()
}

/// A project as the audit log shows it: what can be changed about it.
#[derive(Debug, Serialize)]
pub struct ProjectNote {
    plan: &'static str,
    rpm: Option<u32>,
    included: Option<u64>,
    suspended: bool,
    catalogue: u32,
    thresholds: Option<Vec<u8>>,
    policy_version: u64,
}

impl From<&Project> for ProjectNote {
    fn from(project: &Project) -> Self {
        Self {
            plan: project.plan.as_str(),
            rpm: project.rpm_own,
            included: project.included_own.map(shared::units::Units::get),
            suspended: project.status == shared::policy::Status::Suspended,
            catalogue: project.catalogue,
            thresholds: project.levels_own.clone().map(Vec::from),
            policy_version: project.policy_version,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actions_are_distinct_and_read_back() {
        for action in Action::ALL {
            assert_eq!(Action::parse(action.as_str()), Some(*action));
        }
        assert_eq!(Action::parse("project.painted"), None);
    }
}
