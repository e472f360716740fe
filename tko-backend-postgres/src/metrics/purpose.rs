//! Purposes of statements: every statement of a connected backend has one.
//!
//! A new kind of statement is a new line here.

/// Defines purposes: name, label in metrics, and the verb phrase for errors.
macro_rules! purposes {
    ($($purpose:ident $name:literal $action:literal)+) => {
        /// The purpose of a statement.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Purpose {
            $(#[doc = concat!("To ", $action, ".")] $purpose,)+
        }

        impl Purpose {
            /// All purposes, in the order of their numbers.
            pub(crate) const ALL: &[Self] = &[$(Self::$purpose,)+];

            /// The label in metrics.
            pub(crate) fn name(self) -> &'static str {
                match self {
                    $(Self::$purpose => $name,)+
                }
            }

            /// The verb phrase of errors: what could not be done.
            pub(crate) fn action(self) -> &'static str {
                match self {
                    $(Self::$purpose => $action,)+
                }
            }
        }
    };
}

purposes! {
    // Reading.
    Lend "lend" "get a connection"
    Get "get" "read entities"
    List "list" "list entities"
    Pages "pages" "list all pages of entities"
    Count "count" "count entities"
    ChooseDriver "choose_driver" "choose an index for a listing"
    ReadNamed "read_named" "read the templates and sites of deployments"

    // Transactions of several statements.
    FindProcesses "find_processes" "look for other processes"
    Begin "begin" "begin a transaction"
    End "end" "end a transaction"

    // Change sets.
    ReadChanged "read_changed" "read the entities of a change set"
    FindHolders "find_once" "look up idempotency keys"
    FindReferrers "find_referrers" "look for references to deleted entities"
    FindLease "find_lease" "look up a lease"
    FindModification "find_edit" "look up a modification"
    Commit "commit" "commit the changes"
    FindLost "find_lost" "find out whether a commit was applied"
    AnnounceDeletion "announce_going" "announce a deletion"
    AwaitOlder "await_older" "wait for older transactions"
    WithdrawDeletion "withdraw_going" "release a deletion guard"

    // Contents of rows and bodies, which a process caches.
    TakeVersions "take_versions" "reserve versions"
    StoreSkeleton "store_skeleton" "store a Deployment resource"
    FindSkeleton "find_skeleton" "look up a Deployment resource"
    ReadSkeletons "read_skeletons" "read Deployment resources"
    ReadTemplate "read_template" "read the package of a template"
    StoreDictionary "store_dictionary" "store a compression dictionary"
    FindDictionary "find_dictionary" "look up a compression dictionary"
    ReadDictionary "read_dictionary" "read a compression dictionary"

    // Work, leases, modifications.
    Claim "claim" "claim due work"
    NextDue "next_due" "find the next due time of work"
    RenewLeases "renew_leases" "renew leases"
    RenewModifications "renew_edits" "renew modifications"
    SettleLeases "settle_leases" "end leases"
    EndModifications "settle_edits" "cancel modifications"
    StartModification "modification" "start a modification"

    // The feed.
    FindUnnumbered "find_unnumbered" "look for changes without a revision"
    FindRunning "find_running" "look for running transactions"
    Number "number" "number changes"
    FindRevision "find_revision" "look up the revision of a change"
    Head "head" "read the position of the feed"
    Watch "watch" "read the status of the database"
    Tail "tail" "read the feed"
    History "history" "read the history of an entity"
    ReadBodies "read_bodies" "read packages of changes"

    // Values that workers share.
    PutShared "put_shared" "share a value"
    ForgetShared "forget_shared" "forget shared values"
    GetShared "get_shared" "read a shared value"

    // Housekeeping.
    LockHousekeeping "lock_housekeeping" "lock the housekeeping"
    FindOld "find_old" "look for old changes"
    Forget "forget" "delete old changes"
    RemoveLapsed "remove_lapsed" "delete expired modifications and deletion guards"
    Clear "clear" "delete everything"

    // `Postgres::check`.
    Check "check" "check the database"
    Repair "repair" "repair the database"
}

#[cfg(test)]
mod tests {
    use super::Purpose;
    use std::collections::BTreeSet;

    #[test]
    fn purposes_have_unique_labels_and_are_numbered_in_order() {
        let names: BTreeSet<_> = Purpose::ALL.iter().map(|purpose| purpose.name()).collect();
        assert_eq!(names.len(), Purpose::ALL.len());
        for (place, purpose) in Purpose::ALL.iter().enumerate() {
            assert_eq!(*purpose as usize, place, "{purpose:?}");
            let snake = |c: char| c.is_ascii_lowercase() || c == '_';
            assert!(purpose.name().chars().all(snake), "{purpose:?}");
        }
    }
}
