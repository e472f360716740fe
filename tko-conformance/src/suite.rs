//! The lists of checks, and the macros that turn them into tests.

/// Makes one `#[test]` of each check of suite 1, on a fresh backend.
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

/// Makes one `#[test]` of each check of suite 2, on a fresh store.
///
/// Takes the same arguments as [`backend_suite!`], with a [`DataHarness`](crate::DataHarness).
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
                every_field_is_read_back
                metadata_may_be_any_text
                answers_follow_the_order_of_the_keys
                ids_are_compared_by_bytes
                entities_under_deletion_are_included
                too_many_keys_are_refused
                requested_parts_are_included
                the_revision_is_that_of_the_last_change
                another_process_sees_every_answered_write
            }
            list {
                listings_are_in_byte_order
                pages_of_any_size_give_the_same_listing
                the_page_stream_gives_the_same_listing
                a_listing_has_one_kind
                an_empty_listing_ends_at_once
                a_page_has_at_most_a_thousand_items
                a_cursor_continues_after_its_key
                requested_parts_are_included
                entities_under_deletion_are_hidden
                a_page_shows_everything_up_to_its_revision
                list_then_feed_is_exact
                a_stale_page_names_a_past_revision
                a_page_shows_one_instant
                a_changed_row_moves_between_selections
                a_page_is_as_new_as_its_revision
            }
            count {
                a_count_is_exact_up_to_its_bound
                a_count_follows_every_change
            }
            select {
                id_patterns_filter
                metadata_patterns_filter
                template_ids_filter
                site_ids_filter
                a_parent_filters
                template_and_site_metadata_filter
                prepared_and_approved_filter
                a_concerned_site_filters
                plugin_fields_filter
                all_filters_must_match
                several_filters_combine
                site_metadata_filters_ignore_placement
                entities_under_deletion_still_join
            }
            put {
                a_new_row_starts_at_generation_one
                a_change_keeps_created_and_sets_updated
                the_generation_counts_package_changes
                a_put_without_body_keeps_the_body
                a_put_replaces_the_row
                a_change_without_effect_is_skipped
                only_effective_changes_take_revisions
                conditions_are_merged_by_kind
                a_condition_keeps_the_time_of_its_status
                conditions_change_the_version_only
                a_delete_removes_row_body_and_work
                a_delete_removes_the_work_of_every_stage
                a_recreated_entity_is_new
                a_version_is_never_reused
            }
            commit {
                a_set_is_applied_completely
                a_refused_set_changes_nothing
                a_dropped_commit_is_all_or_nothing
                too_many_changes_are_refused
                a_repeated_key_is_refused
                revisions_are_dense
                both_acknowledgements_hold
                a_set_enqueues_work
                a_commit_under_a_lease_stores_progress
                too_much_progress_is_refused
                an_ended_lease_commits_nothing
                a_lease_ends_with_its_entity
                concurrent_sets_stay_contiguous
                work_of_an_absent_key_is_dropped
                an_unknown_token_commits_nothing
                a_set_enqueues_before_it_settles
                settle_and_progress_need_a_token
            }
            preconditions {
                absent_fails_for_an_entity_under_deletion
                exists_fails_for_an_entity_under_deletion
                at_requires_the_exact_version
                at_fails_for_a_recreated_entity
                generation_requires_the_same_package
                current_requires_the_version_and_no_deletion
                unreferenced_is_checked_after_the_changes
                a_conflict_names_every_failing_key
                a_conflict_includes_missing_and_existing_keys
                compare_and_swap_loses_no_update
            }
            idempotency_key {
                a_second_creation_is_skipped
                the_rest_of_the_set_is_committed
                a_skipped_creation_references_nothing
                one_set_creates_one_deployment_per_key
                a_key_is_free_after_its_deployment_is_deleted
                a_deployment_can_be_put_under_its_own_key
                concurrent_creations_make_one_deployment
                a_deployment_under_deletion_keeps_its_key
            }
            modification {
                a_modification_returns_the_entity
                a_missing_entity_is_not_found
                a_second_modification_is_busy
                a_modification_blocks_other_writers
                a_modification_allows_conditions
                a_modification_allows_placements
                a_commit_ends_the_modification
                a_commit_without_changes_ends_the_modification
                a_refused_commit_keeps_the_modification
                an_expired_modification_commits_nothing
                an_unknown_token_is_not_found
                a_cancelled_modification_is_not_found
                a_modification_makes_no_revision
                one_of_many_gets_the_modification
            }
            claim {
                a_claim_describes_the_work
                leased_work_is_not_claimed_again
                a_claim_takes_at_most_max_items
                the_earliest_due_comes_first
                lanes_take_turns_within_a_claim
                lanes_take_turns_from_claim_to_claim
                enqueues_merge_into_the_earlier_time
                an_expired_lease_is_due_work
                work_abandoned_three_times_is_claimed_alone
                the_fence_always_rises
                a_claim_makes_no_revision
                no_work_is_leased_twice_at_once
                time_advances
                stages_take_separate_turns
                work_is_due_exactly_at_its_time
            }
            wait {
                a_waiting_claim_ends_with_new_work
                a_waiting_claim_ends_when_work_becomes_due
                a_waiting_claim_ends_with_yielded_work
                a_claim_returns_empty_after_its_wait
                a_dropped_claim_leases_nothing
            }
            settle {
                done_work_is_removed
                an_enqueue_under_a_lease_is_not_lost
                an_enqueue_before_the_claim_is_part_of_it
                an_enqueue_under_an_expired_lease_joins_the_next_claim
                retried_work_is_due_after_its_delay
                retried_work_is_due_at_once_if_enqueued
                an_enqueue_brings_retried_work_forward
                work_that_fails_three_times_moves_to_the_failing_lane
                a_yield_counts_no_attempt
                yielded_work_is_due_at_once_if_enqueued
                each_token_is_settled_separately
                an_expired_lease_settles_nothing
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
            feed {
                a_change_comes_with_its_previous_state
                packages_come_only_on_request
                the_feed_starts_after_any_revision
                a_waiting_reader_gets_the_next_change
                every_reader_gets_every_change
                the_feed_is_exact_under_concurrent_writes
                a_position_no_longer_kept_is_expired
                a_slow_reader_misses_nothing
                the_feed_position_names_the_last_and_oldest_revision
                no_wake_up_is_lost
                a_future_revision_is_expired
            }
            history {
                a_history_is_newest_first
                a_history_is_read_in_parts
                an_unknown_entity_has_no_history
                a_history_goes_back_as_far_as_changes_are_kept
            }
            shared_value {
                a_shared_value_is_the_last_of_its_key
                shared_values_stay_within_limits
            }
            random {
                commits_and_reads_agree_with_the_reference
                claims_and_modifications_agree_with_the_reference
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
                a_second_registration_replaces_the_first
                a_changed_template_leaves_its_deployments_alone
                expectations_are_enforced
                an_invalid_package_is_refused_with_every_violation
                templates_may_be_incomplete_but_sites_may_not
                unknown_annotation_values_are_refused
                a_site_is_merged_with_its_template
                a_site_keeps_its_deployments
                a_plugin_is_read_back
                an_invalid_plugin_is_refused
                an_entity_under_deletion_is_busy
            }
            create {
                a_deployment_is_merged_with_its_template
                a_deployment_needs_no_template
                ids_are_generated_or_given
                unknown_references_are_refused
                an_invalid_merged_package_is_refused
                prepared_and_approved_are_annotations
                the_template_sets_the_deployment_resource
                a_prepared_deployment_is_approved_if_its_policy_is_auto
                old_fields_are_ignored
                a_second_creation_returns_the_first_id
                each_of_many_creations_succeeds_or_fails_alone
                deployments_are_independent
                concurrent_creations_use_one_template_version
            }
            metadata {
                leaves_become_text
                annotations_control_gathering
                given_metadata_overrides_all_other
                the_origin_of_a_template_is_not_inherited
                a_new_package_replaces_gathered_metadata
            }
            package {
                numbers_and_order_survive
                a_missing_deployment_resource_is_restored
                the_deployment_resource_keeps_its_place
                the_ids_in_the_deployment_resource_set_the_relations
                an_edit_keeps_the_template
                the_annotations_set_prepared_and_approved
                a_prepared_package_must_be_complete
                a_cleared_relation_stays_cleared
                several_deployment_resources_are_refused
            }
            modification {
                a_modification_replaces_the_package
                a_live_modification_makes_others_busy
                a_refused_package_keeps_the_modification
                a_token_works_once
                an_expired_modification_cannot_end
                unknown_tokens_and_deployments_are_not_found
                a_token_survives_encoding
                a_modification_keeps_concurrent_changes
                ending_without_a_change_makes_no_revision
                concurrent_modifications_lose_nothing
                an_edit_needs_a_new_approval
            }
            update {
                an_update_requires_the_version_read
                a_missing_entity_is_not_found
                metadata_and_package_change_separately
            }
            approve {
                matching_prepared_deployments_are_approved
                only_deployments_are_approved
                any_number_is_approved
            }
            read {
                the_server_has_a_name
                a_missing_entity_is_not_found
                entities_under_deletion_are_hidden
                requested_parts_are_included
                pages_give_the_whole_listing
                every_filter_works
                a_count_is_exact_up_to_its_bound
                a_history_has_whole_packages
                a_change_names_its_caller_and_its_verb
            }
            delete {
                relations_are_cleared
                a_site_outlives_its_template
                a_deleted_entity_is_not_found
                a_deleted_entity_can_be_created_again
                more_than_500_relations_are_cleared
                more_than_1000_relations_are_cleared
                concurrent_creations_lose_to_a_deletion
                a_modification_blocks_only_its_own_deletion
                a_placed_deployment_goes_when_it_is_reported_removed
                a_deletion_requires_the_version_read
                a_large_deletion_requires_the_version_once
                a_deletion_and_a_change_exclude_each_other
                an_unplaced_deployment_goes_at_once
            }
            purge {
                all_matches_are_deleted
                referenced_entities_are_deleted_too
                entities_under_modification_are_skipped
                any_number_is_deleted
            }
            watch {
                a_watch_reports_matching_changes
                an_event_has_the_whole_package
                an_entity_under_deletion_is_gone
                a_watch_of_edits_leaves_out_other_changes
                joins_cannot_be_watched
                a_position_no_longer_kept_is_expired
                a_waiting_watch_gets_the_next_event
                list_then_watch_is_exact
            }
            triggers {
                unprepared_deployments_are_due
                other_changes_make_no_deployment_due
                a_changed_site_is_due
                a_site_is_due_when_its_deployments_change
                other_changes_make_no_site_due
                a_deleted_site_is_due_once_more
                templates_take_turns
            }
            claim {
                a_claim_is_renewed_and_settled
                outcomes_take_effect
                an_expired_lease_is_due_work
                enqueued_work_is_due
                a_retry_makes_waiting_work_due
                at_most_1000_are_enqueued_at_once
                a_waiting_claim_ends_with_new_work
            }
            prepare_step {
                a_step_commits_completely
                a_refused_step_changes_nothing
                a_lost_claim_is_expired
                user_changes_win_over_a_step
                a_modification_blocks_a_step
                a_step_for_a_deleted_deployment_fails
                conditions_alone_are_committed
                a_prepared_deployment_moves_to_scheduling
                a_step_does_not_approve_for_a_person
            }
            effects {
                a_child_is_created_once
                keys_of_children_are_reserved
                a_step_approves_no_child
                a_step_has_at_most_500_effects
                a_step_can_delete_children
                subscriptions_are_selectable
                a_prepared_deployment_waits_for_nothing
                deleted_children_are_created_again
            }
            schedule_step {
                a_step_records_placements
                a_step_without_outcome_keeps_the_claim
                a_lost_claim_is_expired
                a_large_step_is_committed_completely
                a_deployment_under_modification_is_placed
                a_deployment_is_on_one_site_at_a_time
                another_site_cannot_remove_a_placement
                schedulers_of_a_site_are_recorded
                a_removed_parent_is_deleted
                a_site_reads_what_was_approved
            }
            random {
                operations_agree_with_the_model
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

/// Makes the constant list of checks.
macro_rules! table {
    ($run:ident $suite:ident; $($group:ident { $($check:ident)* })*) => {
        &[$($(crate::ConformanceCheck {
            name: concat!(stringify!($group), "::", stringify!($check)),
            run: |harness| crate::$run(harness, crate::$suite::$group::$check),
        },)*)*]
    };
}
pub(crate) use table;
