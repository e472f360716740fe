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
                metadata_of_any_text_come_back
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
                reading_on_comes_to_the_same
                a_listing_is_of_one_kind
                an_empty_listing_ends_at_once
                a_page_has_at_most_a_thousand_items
                a_cursor_continues_after_its_key
                what_is_wanted_comes_along
                what_is_being_deleted_is_hidden
                a_page_shows_everything_up_to_its_revision
                list_then_tail_is_exact
                any_revision_is_one_that_was
                a_page_is_consistent_in_itself
                a_change_moves_between_selections
                a_page_is_as_new_as_its_revision
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
                by_several_conditions_at_once
                site_metadata_ignore_where_a_deployment_is_placed
                metadata_of_what_is_under_deletion_count
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
                a_delete_removes_the_work_of_every_stage
                what_is_made_again_is_new
                a_version_is_never_given_twice
            }
            commit {
                a_set_is_applied_whole
                a_refused_set_leaves_nothing_behind
                a_dropped_commit_happened_or_did_not
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
                work_of_an_absent_key_is_dropped
                an_unknown_token_commits_nothing
                a_set_enqueues_before_it_settles
                settle_and_progress_need_a_token
            }
            preconditions {
                absent_means_not_even_being_deleted
                exists_means_not_being_deleted
                at_means_exactly_as_it_was_read
                at_knows_what_was_made_again
                generation_means_the_same_package
                current_means_as_it_was_read_and_staying
                unreferenced_means_after_these_changes
                a_conflict_names_every_failing_key
                a_conflict_outweighs_what_is_missing
                compare_and_swap_loses_no_update
            }
            idempotency_key {
                a_second_creation_is_left_out
                the_rest_of_the_set_is_done
                what_is_left_out_refers_to_nothing
                one_set_creates_once_too
                a_key_is_free_when_its_deployment_is_gone
                its_own_deployment_may_be_replaced
                creations_at_once_make_one
                a_deployment_under_deletion_keeps_its_key
            }
            modification {
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
                stages_take_separate_turns
                work_is_due_exactly_at_its_time
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
                yielded_work_is_due_at_once_if_marked
                each_is_settled_by_itself
                a_lapsed_lease_settles_nothing
                a_commit_settles_its_lease
                work_enqueued_again_leaves_the_failing_lane
                a_delayed_enqueue_under_a_lease_is_not_lost
                an_expired_lease_keeps_the_last_error
            }
            renew {
                a_renewed_lease_lasts_longer
                a_renewed_modification_lasts_longer
                a_renewal_can_shorten_a_lease
                a_renewal_can_shorten_a_modification
                a_lease_expires_exactly_at_its_deadline
                a_modification_expires_exactly_at_its_deadline
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
                no_wake_up_is_lost
                a_feed_waits_for_a_revision_to_come
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
            interleaved {
                commits_are_explained_by_the_feed
                rights_never_overlap
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
            register {
                a_template_is_read_back
                registering_again_replaces
                what_was_made_from_a_template_stays
                expectations_are_kept
                an_invalid_package_is_refused_with_every_violation
                templates_may_be_incomplete_and_sites_not
                unknown_annotation_values_are_refused
                a_site_is_merged_with_its_template
                a_site_keeps_its_deployments
                a_plugin_is_read_back
                an_unsound_plugin_is_refused
                what_is_being_deleted_is_busy
            }
            create {
                a_deployment_is_merged_with_its_template
                a_deployment_needs_no_template
                ids_are_made_or_brought
                unknown_references_are_refused
                what_is_invalid_once_merged_is_refused
                prepared_and_approved_are_annotations
                what_the_template_says_stays
                old_fields_mean_nothing
                a_second_creation_finds_the_first
                many_are_created_each_by_itself
                deployments_are_apart
                creations_race_with_registrations
            }
            metadata {
                leaves_are_gathered_as_text
                annotations_say_where_to_gather
                what_is_given_out_of_band_is_strongest
                a_new_package_is_gathered_again
            }
            package {
                numbers_and_order_survive
                a_lost_deployment_resource_comes_back
                the_deployment_resource_keeps_its_place
                its_ids_are_the_relations
                its_annotations_are_prepared_and_approved
                what_becomes_prepared_has_to_be_complete
                a_cleared_relation_stays_cleared
                several_deployment_resources_are_refused
            }
            modify {
                a_modification_replaces_the_package
                while_it_is_live_others_are_busy
                a_refused_package_leaves_the_claim_live
                a_token_works_once
                a_late_end_is_a_timeout
                unknown_tokens_and_deployments_are_not_found
                a_token_may_be_passed_on_as_text
                a_modification_keeps_what_others_changed
                ending_without_a_change_is_no_change
                modifications_at_once_lose_nothing
            }
            update {
                an_update_needs_the_version_that_was_read
                what_is_not_there_is_not_found
            }
            approve {
                what_is_prepared_and_matches_is_approved
                only_deployments_are_approved
                however_many_are_approved
            }
            read {
                who_serves_it_has_a_name
                what_is_not_there_is_not_found
                what_is_being_deleted_is_hidden
                what_is_wanted_comes_along
                pages_come_to_the_whole
                every_way_to_select_works
                a_count_is_exact_up_to_its_bound
                a_history_has_whole_packages
            }
            delete {
                relations_are_cleared
                a_site_outlives_its_template
                what_is_gone_is_not_found
                what_was_deleted_can_be_made_again
                more_than_500_relations_are_cleared
                more_than_1000_relations_are_cleared
                creations_lose_against_a_deletion
                a_modification_holds_up_its_own_deletion_only
                what_is_placed_goes_when_it_is_reported_off
                what_is_not_placed_goes_at_once
            }
            purge {
                all_that_match_are_deleted
                what_is_referred_to_is_deleted_too
                what_is_under_modification_is_skipped
                however_many_go
            }
            watch {
                a_watcher_is_told_what_matters
                a_change_is_told_with_its_package
                what_is_hidden_is_gone
                joins_cannot_be_watched
                what_is_no_longer_kept_is_expired
                a_waiting_watcher_is_told
                list_then_watch_is_exact
            }
            triggers {
                what_is_not_prepared_is_due
                other_changes_make_no_deployment_due
                a_changed_site_is_due
                a_site_is_due_when_what_it_runs_changes
                other_changes_make_no_site_due
                a_deleted_site_is_due_once_more
                templates_take_turns
            }
            work {
                a_claim_is_renewed_and_settled
                outcomes_come_through
                a_lapsed_lease_is_due_work
                waking_makes_due
                at_most_1000_are_woken_at_once
                a_waiting_claim_ends_with_new_work
            }
            prepare_step {
                a_step_commits_whole
                a_refused_step_leaves_nothing_behind
                a_lost_claim_is_a_timeout
                people_are_not_kept_out
                a_modification_comes_first
                what_is_gone_is_over
                conditions_alone_are_let_through
                what_comes_out_prepared_goes_on
            }
            effects {
                a_child_is_created_once
                a_step_has_at_most_500_effects
                a_step_may_delete_children
                interests_are_found
                what_is_prepared_waits_for_nothing
            }
            schedule_step {
                a_step_says_what_is_where
                without_a_settlement_the_claim_stays
                a_lost_claim_is_a_timeout
                a_large_step_is_committed_whole
                a_deployment_is_on_one_site_at_a_time
                another_site_cannot_take_it_off
            }
            random {
                verbs_agree_with_the_model
            }
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
