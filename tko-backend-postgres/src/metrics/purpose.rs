//! What statements are for: all that are sent once the backend is connected, in one place.
//!
//! A new statement is a line here; `sent` takes no other name for it.

/// Purposes, each with its label in metrics and with what fails when it does: a verb phrase.
macro_rules! purposes {
    ($($purpose:ident $name:literal $action:literal)+) => {
        /// What a statement is for.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Purpose {
            $(#[doc = concat!("To ", $action, ".")] $purpose,)+
        }

        impl Purpose {
            /// All of them, in the order of their numbers.
            pub(crate) const ALL: &[Self] = &[$(Self::$purpose,)+];

            /// As metrics name it.
            pub(crate) fn name(self) -> &'static str {
                match self {
                    $(Self::$purpose => $name,)+
                }
            }

            /// As errors name it.
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
    ChooseDriver "choose_driver" "find the best way to list"
    ReadNamed "read_named" "read what deployments name"

    // Transactions of several statements.
    Begin "begin" "begin a transaction"
    End "end" "end a transaction"

    // Change sets.
    ReadChanged "read_changed" "read what is to be changed"
    FindOnce "find_once" "find what was created before"
    FindReferrers "find_referrers" "look for what names what is to go"
    FindLease "find_lease" "look for a lease"
    FindEdit "find_edit" "look for an edit"
    Commit "commit" "commit the changes"
    FindLost "find_lost" "find out what was committed"
    AnnounceGoing "announce_going" "announce what is to go"
    AwaitOlder "await_older" "look for older transactions"
    WithdrawGoing "withdraw_going" "say that keys stay"

    // What rows and bodies need beside them, remembered once it is read.
    TakeVersions "take_versions" "take versions"
    StoreSkeleton "store_skeleton" "store a Deployment resource"
    FindSkeleton "find_skeleton" "find a Deployment resource"
    ReadSkeletons "read_skeletons" "read Deployment resources"
    ReadTemplate "read_template" "read the template that packages are compressed with"
    StoreDictionary "store_dictionary" "store what packages are compressed with"
    FindDictionary "find_dictionary" "find what packages are compressed with"
    ReadDictionary "read_dictionary" "read what packages are compressed with"

    // Work, leases, edits.
    Claim "claim" "claim due work"
    NextDue "next_due" "see what is due next"
    RenewLeases "renew_leases" "renew leases"
    RenewEdits "renew_edits" "renew edits"
    SettleLeases "settle_leases" "end leases"
    SettleEdits "settle_edits" "give up edits"
    Modification "edit" "open an edit"

    // The feed.
    FindUnnumbered "find_unnumbered" "look for changes without revision"
    Number "number" "number changes"
    FindRevision "find_revision" "find the revision of a change"
    Head "head" "read where the feed is"
    Watch "watch" "look at what operators watch"
    Tail "tail" "read the feed"
    History "history" "read the history of an entity"
    ReadBodies "read_bodies" "read bodies of changes"

    // Housekeeping.
    LockHousekeeping "lock_housekeeping" "see whether another keeps house"
    FindOld "find_old" "find changes that are old"
    Forget "forget" "forget old changes"
    RemoveLapsed "remove_lapsed" "remove what has lapsed"
    Clear "clear" "delete everything"

    // `Postgres::check`.
    Check "check" "look for what is wrong"
    Repair "repair" "mend what is wrong"
}

#[cfg(test)]
mod tests {
    use super::Purpose;
    use std::collections::BTreeSet;

    #[test]
    fn every_purpose_has_a_name_of_its_own_and_its_place() {
        let names: BTreeSet<_> = Purpose::ALL.iter().map(|purpose| purpose.name()).collect();
        assert_eq!(names.len(), Purpose::ALL.len());
        for (place, purpose) in Purpose::ALL.iter().enumerate() {
            assert_eq!(*purpose as usize, place, "{purpose:?}");
            let snake = |c: char| c.is_ascii_lowercase() || c == '_';
            assert!(purpose.name().chars().all(snake), "{purpose:?}");
        }
    }
}
