//! The lists of checks, and the macros that make tests of them.

/// Makes one `#[test]` of each check of suite 1, on a backend of its own.
///
/// `$harness` is an expression that makes a [`BackendHarness`](crate::BackendHarness); it is
/// evaluated for each check. Attributes go to every test.
///
/// ```
/// use tko_conformance::{ReferenceHarness, backend_suite};
///
/// backend_suite!(mod reference = ReferenceHarness::default());
/// // Where a service is needed:
/// backend_suite!(#[ignore = "needs a service"] mod remote = ReferenceHarness::default());
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! backend_suite {
    ($(#[$attribute:meta])* mod $name:ident = $harness:expr) => {
        mod $name {
            #[allow(unused_imports)]
            use super::*;
            $crate::__backend_checks!([$crate::__tests] run_backend backend
                [$(#[$attribute])*] $harness;);
        }
    };
}

/// Makes one `#[test]` of each check of suite 2, on an API of its own.
///
/// As [`backend_suite!`], of a [`DataHarness`](crate::DataHarness).
#[macro_export]
macro_rules! data_suite {
    ($(#[$attribute:meta])* mod $name:ident = $harness:expr) => {
        mod $name {
            #[allow(unused_imports)]
            use super::*;
            $crate::__data_checks!([$crate::__tests] run_data data
                [$(#[$attribute])*] $harness;);
        }
    };
}

/// Every check of suite 1, by file.
#[doc(hidden)]
#[macro_export]
macro_rules! __backend_checks {
    ([$($then:tt)*] $($arguments:tt)*) => {
        $($then)*! { $($arguments)*
            get {
                what_was_put_is_read_back
                answers_are_in_the_order_asked_for
                ids_are_told_apart_by_bytes
                what_is_being_deleted_is_included
                too_many_keys_are_refused
                what_is_wanted_comes_along
                the_revision_is_of_the_last_change
                another_process_sees_what_was_answered
            }
            list {
                listings_are_in_byte_order
                pages_of_any_size_come_to_the_same
                a_listing_is_of_one_kind
                an_empty_listing_ends_at_once
                a_page_has_at_most_a_thousand_items
                a_cursor_continues_after_its_key
                what_is_wanted_comes_along
                what_is_being_deleted_is_hidden
                a_page_shows_everything_up_to_its_revision
                list_then_tail_is_exact
                a_page_is_consistent_in_itself
                a_change_moves_between_selections
            }
            count {
                a_count_is_exact_up_to_its_bound
                a_count_follows_every_change
            }
            select {
                by_id_patterns
                by_metadata_patterns
                by_template_ids
                by_site_ids
                by_parent
                by_metadata_of_template_and_site
                by_prepared_and_approved
                by_the_site_that_it_concerns
                of_plugins
                all_that_is_set_must_hold
            }
            put {
                a_creation_starts_a_row
                a_change_keeps_created_and_moves_updated
                the_generation_counts_changes_of_the_package
                a_put_without_body_keeps_it
                a_put_replaces_the_row
                what_changes_nothing_is_left_out
                only_real_changes_of_a_set_take_revisions
                conditions_are_merged_by_kind
                a_condition_says_since_when
                conditions_change_the_version_only
                a_delete_removes_row_body_and_work
                what_is_made_again_is_new
                a_version_is_never_given_twice
            }
            commit {
                a_set_is_applied_whole
                a_refused_set_leaves_nothing_behind
                too_many_changes_are_refused
                a_key_twice_is_refused
                revisions_are_dense
                both_acknowledgements_hold
                a_set_makes_work_due
                a_commit_under_a_lease_carries_progress
                too_much_progress_is_refused
                a_dead_lease_commits_nothing
                a_lease_dies_with_its_entity
                sets_at_once_stay_contiguous
            }
            require {
                absent_means_not_even_being_deleted
                exists_means_not_being_deleted
                at_means_exactly_as_it_was_read
                at_knows_what_was_made_again
                generation_means_the_same_package
                unreferenced_means_after_these_changes
                a_conflict_names_every_failing_key
                a_conflict_outweighs_what_is_missing
                compare_and_swap_loses_no_update
            }
            once {
                a_second_creation_is_left_out
                the_rest_of_the_set_is_done
                one_set_creates_once_too
                a_key_is_free_when_its_deployment_is_gone
                its_own_deployment_may_be_replaced
                creations_at_once_make_one
            }
            edit {
                an_edit_answers_with_the_entity
                what_is_not_there_is_not_found
                a_second_edit_is_busy
                an_edit_keeps_other_writers_off
                an_edit_lets_conditions_through
                a_commit_ends_the_edit
                any_commit_ends_the_edit
                a_refused_commit_leaves_the_edit_open
                a_lapsed_edit_is_a_timeout
                a_made_up_token_is_not_found
                a_given_up_edit_is_not_found
                an_edit_can_be_renewed
                edits_make_no_revision
                one_of_many_has_the_edit
            }
            claim {
                a_claim_says_what_is_to_be_done
                leased_work_is_not_claimed_again
                at_most_max_are_claimed
                the_earliest_comes_first
                lanes_take_turns_within_a_claim
                lanes_take_turns_from_claim_to_claim
                marks_merge_into_the_earlier_time
                a_lapsed_lease_is_due_work
                what_killed_three_workers_is_claimed_alone
                the_fence_always_rises
                claims_make_no_revision
                nothing_is_leased_to_two_at_once
                time_goes_on
            }
            wait {
                a_waiting_claim_ends_with_new_work
                a_waiting_claim_ends_as_time_goes_on
                a_waiting_claim_ends_with_what_is_handed_back
                a_claim_ends_empty_after_its_wait
                a_dropped_claim_leaves_nothing_leased
            }
            settle {
                what_is_done_is_gone
                a_mark_while_claimed_is_not_lost
                a_mark_before_the_claim_is_done_with_it
                a_mark_under_a_lapsed_lease_is_done_with_the_next
                retried_work_is_due_after_its_pause
                retried_work_is_due_at_once_if_marked
                a_mark_brings_retried_work_forward
                what_failed_three_times_moves_to_the_failing_lane
                what_is_yielded_counts_no_attempt
                what_is_yielded_is_due_at_once_if_marked
                yielded_work_is_due_at_once_if_marked
                each_is_settled_by_itself
                a_lapsed_lease_settles_nothing
                a_renewed_lease_lives_on
                a_commit_settles_its_lease
            }
            tail {
                a_change_is_told_with_its_previous_state
                packages_are_told_if_wanted
                a_tail_begins_after_any_revision
                a_waiting_tail_is_told
                every_reader_is_told_everything
                a_tail_is_exact_under_concurrent_writes
                what_is_no_longer_kept_is_expired
                a_slow_reader_misses_nothing
                the_head_says_where_the_feed_is
            }
            history {
                a_history_is_of_one_entity_newest_first
                a_history_is_read_in_pieces
                what_never_was_has_no_history
                a_history_goes_back_as_far_as_it_is_kept
            }
            random {
                commits_and_reads_agree_with_the_reference
                claims_and_edits_agree_with_the_reference
            }
        }
    };
}

/// Every check of suite 2, by file.
#[doc(hidden)]
#[macro_export]
macro_rules! __data_checks {
    ([$($then:tt)*] $($arguments:tt)*) => {
        $($then)*! { $($arguments)*

        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __tests {
    (
        $run:ident $suite:ident $attributes:tt $harness:expr;
        $($group:ident { $($check:ident)* })*
    ) => {
        $(mod $group {
            #[allow(unused_imports)]
            use super::*;
            $($crate::__test!($run $suite $group $check $attributes $harness);)*
        })*
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __test {
    (
        $run:ident $suite:ident $group:ident $check:ident [$($attribute:tt)*] $harness:expr
    ) => {
        $($attribute)*
        #[test]
        fn $check() {
            $crate::$run(::std::sync::Arc::new($harness), $crate::$suite::$group::$check);
        }
    };
}

/// Makes the constant lists.
macro_rules! table {
    ($run:ident $suite:ident; $($group:ident { $($check:ident)* })*) => {
        &[$($(crate::Check {
            name: concat!(stringify!($group), "::", stringify!($check)),
            run: |harness| crate::$run(harness, crate::$suite::$group::$check),
        },)*)*]
    };
}
pub(crate) use table;
