//! The table of faults and checks.

/// Each fault, in words, and the check that is made for it.
pub(crate) const PAIRS: &[(&str, &str)] = &[
    // get
    (
        "get answers in key order",
        "get::answers_are_in_the_order_asked_for",
    ),
    (
        "get hides what is being deleted",
        "get::what_is_being_deleted_is_included",
    ),
    (
        "get takes any number of keys",
        "get::too_many_keys_are_refused",
    ),
    ("work is not read", "get::what_is_wanted_comes_along"),
    (
        "the revision of a row is the head's",
        "get::the_revision_is_of_the_last_change",
    ),
    ("ids are folded", "get::ids_are_told_apart_by_bytes"),
    (
        "other processes see another store",
        "get::another_process_sees_what_was_answered",
    ),
    (
        "what is given is not stored",
        "get::what_was_put_is_read_back",
    ),
    (
        "metadata are trimmed",
        "get::metadata_of_any_text_come_back",
    ),
    // list
    ("a page is in reverse", "list::listings_are_in_byte_order"),
    (
        "the cursor is ignored",
        "list::pages_of_any_size_come_to_the_same",
    ),
    (
        "the cursor's own key is repeated",
        "list::a_cursor_continues_after_its_key",
    ),
    (
        "the first page is the last",
        "list::pages_of_any_size_come_to_the_same",
    ),
    (
        "a listing never ends",
        "list::an_empty_listing_ends_at_once",
    ),
    (
        "the limit is ignored",
        "list::pages_of_any_size_come_to_the_same",
    ),
    (
        "pages have no bound",
        "list::a_page_has_at_most_a_thousand_items",
    ),
    (
        "reading on skips a page",
        "list::reading_on_comes_to_the_same",
    ),
    ("kinds are mixed", "list::a_listing_is_of_one_kind"),
    (
        "pages come without packages",
        "list::what_is_wanted_comes_along",
    ),
    (
        "pages show what is being deleted",
        "list::what_is_being_deleted_is_hidden",
    ),
    (
        "a page names a revision too late",
        "list::a_page_shows_everything_up_to_its_revision",
    ),
    (
        "a page is read in pieces",
        "list::a_page_is_consistent_in_itself",
    ),
    (
        "pages are remembered",
        "list::a_change_moves_between_selections",
    ),
    (
        "a page names a revision far too late",
        "list::list_then_tail_is_exact",
    ),
    (
        "any revision is one that is not there yet",
        "list::any_revision_is_one_that_was",
    ),
    (
        "an old state is given out for the latest",
        "list::any_revision_is_one_that_was",
    ),
    // count
    (
        "counts are remembered",
        "count::a_count_follows_every_change",
    ),
    (
        "counts have no bound",
        "count::a_count_is_exact_up_to_its_bound",
    ),
    // select
    ("ids are not selected by", "select::by_id_patterns"),
    ("only one id pattern counts", "select::by_id_patterns"),
    (
        "metadata are not selected by",
        "select::by_metadata_patterns",
    ),
    (
        "template ids are not selected by",
        "select::by_template_ids",
    ),
    ("site ids are not selected by", "select::by_site_ids"),
    ("parents are not selected by", "select::by_parent"),
    (
        "template metadata are not selected by",
        "select::by_metadata_of_template_and_site",
    ),
    (
        "site metadata are not selected by",
        "select::by_metadata_of_template_and_site",
    ),
    (
        "prepared is not selected by",
        "select::by_prepared_and_approved",
    ),
    (
        "what is placed does not concern a site",
        "select::by_the_site_that_it_concerns",
    ),
    ("triggers are not selected by", "select::of_plugins"),
    (
        "any of what is set suffices",
        "select::all_that_is_set_must_hold",
    ),
    // put
    ("what is made has no time", "put::a_creation_starts_a_row"),
    (
        "created moves",
        "put::a_change_keeps_created_and_moves_updated",
    ),
    (
        "the generation counts every change",
        "put::the_generation_counts_changes_of_the_package",
    ),
    (
        "a put without body clears it",
        "put::a_put_without_body_keeps_it",
    ),
    ("a put merges metadata", "put::a_put_replaces_the_row"),
    (
        "nothing makes a revision",
        "put::what_changes_nothing_is_left_out",
    ),
    (
        "nothing in a set makes a revision",
        "put::only_real_changes_of_a_set_take_revisions",
    ),
    (
        "one condition is kept",
        "put::conditions_are_merged_by_kind",
    ),
    ("since is not kept", "put::a_condition_says_since_when"),
    (
        "conditions count as generations",
        "put::conditions_change_the_version_only",
    ),
    (
        "work outlives its entity",
        "put::a_delete_removes_row_body_and_work",
    ),
    (
        "what is made again is as old as ever",
        "put::what_is_made_again_is_new",
    ),
    (
        "versions start again",
        "put::a_version_is_never_given_twice",
    ),
    // commit
    (
        "versions of a set are the last one's",
        "commit::a_set_is_applied_whole",
    ),
    (
        "a set is not atomic",
        "commit::a_refused_set_leaves_nothing_behind",
    ),
    (
        "sets are not contiguous",
        "commit::a_dropped_commit_happened_or_did_not",
    ),
    (
        "a set may have any size",
        "commit::too_many_changes_are_refused",
    ),
    (
        "of a key twice the last counts",
        "commit::a_key_twice_is_refused",
    ),
    ("revisions have gaps", "commit::revisions_are_dense"),
    (
        "nobody is told revisions",
        "commit::both_acknowledgements_hold",
    ),
    ("marks are lost", "commit::a_set_makes_work_due"),
    ("marks are due at once", "commit::a_set_makes_work_due"),
    (
        "progress is lost",
        "commit::a_commit_under_a_lease_carries_progress",
    ),
    (
        "progress has no bound",
        "commit::too_much_progress_is_refused",
    ),
    (
        "a dead lease commits",
        "commit::a_dead_lease_commits_nothing",
    ),
    (
        "a lost lease is not found",
        "commit::a_lease_dies_with_its_entity",
    ),
    (
        "sets are not contiguous",
        "commit::sets_at_once_stay_contiguous",
    ),
    // require
    (
        "absent is not required",
        "preconditions::absent_means_not_even_being_deleted",
    ),
    (
        "exists is not required",
        "preconditions::exists_means_not_being_deleted",
    ),
    (
        "a version is not required",
        "preconditions::at_means_exactly_as_it_was_read",
    ),
    (
        "what is gone is as it was read",
        "preconditions::at_knows_what_was_made_again",
    ),
    (
        "a generation is not required",
        "preconditions::generation_means_the_same_package",
    ),
    (
        "what is read is not required to stay",
        "preconditions::current_means_as_it_was_read_and_staying",
    ),
    (
        "what is going is current",
        "preconditions::current_means_as_it_was_read_and_staying",
    ),
    (
        "referrers do not matter",
        "preconditions::unreferenced_means_after_these_changes",
    ),
    (
        "referrers are looked for before",
        "preconditions::unreferenced_means_after_these_changes",
    ),
    (
        "a conflict names one key",
        "preconditions::a_conflict_names_every_failing_key",
    ),
    (
        "what is missing comes first",
        "preconditions::a_conflict_outweighs_what_is_missing",
    ),
    (
        "requirements are checked before",
        "preconditions::compare_and_swap_loses_no_update",
    ),
    // once
    (
        "once is ignored",
        "idempotency_key::a_second_creation_is_left_out",
    ),
    (
        "a taken key refuses the set",
        "idempotency_key::the_rest_of_the_set_is_done",
    ),
    (
        "what is left out refers",
        "idempotency_key::what_is_left_out_refers_to_nothing",
    ),
    (
        "once is checked before the set",
        "idempotency_key::one_set_creates_once_too",
    ),
    (
        "once is for ever",
        "idempotency_key::a_key_is_free_when_its_deployment_is_gone",
    ),
    (
        "its own key is taken",
        "idempotency_key::its_own_deployment_may_be_replaced",
    ),
    (
        "once is looked up before",
        "idempotency_key::creations_at_once_make_one",
    ),
    // edit
    (
        "an edit comes without the entity's state",
        "modification::an_edit_answers_with_the_entity",
    ),
    (
        "an edit of nothing is busy",
        "modification::what_is_not_there_is_not_found",
    ),
    (
        "edits are not exclusive",
        "modification::a_second_edit_is_busy",
    ),
    (
        "writers ignore edits",
        "modification::an_edit_keeps_other_writers_off",
    ),
    (
        "an edit keeps conditions off",
        "modification::an_edit_lets_conditions_through",
    ),
    (
        "a token works again",
        "modification::a_commit_ends_the_edit",
    ),
    (
        "a commit of nothing leaves the edit",
        "modification::any_commit_ends_the_edit",
    ),
    (
        "a refused commit ends the edit",
        "modification::a_refused_commit_leaves_the_edit_open",
    ),
    (
        "edits never lapse",
        "modification::a_lapsed_edit_is_a_timeout",
    ),
    (
        "a late token is not found",
        "modification::a_lapsed_edit_is_a_timeout",
    ),
    (
        "tokens are not checked",
        "modification::a_made_up_token_is_not_found",
    ),
    (
        "what was given up is late",
        "modification::a_given_up_edit_is_not_found",
    ),
    ("nothing is renewed", "modification::an_edit_can_be_renewed"),
    (
        "an edit makes a revision",
        "modification::edits_make_no_revision",
    ),
    (
        "edits are checked before",
        "modification::one_of_many_has_the_edit",
    ),
    // claim
    (
        "attempts are not counted",
        "claim::a_claim_says_what_is_to_be_done",
    ),
    (
        "leases lapse at once",
        "claim::leased_work_is_not_claimed_again",
    ),
    ("any number is claimed", "claim::at_most_max_are_claimed"),
    (
        "what is due last comes first",
        "claim::the_earliest_comes_first",
    ),
    (
        "one lane is served at a time",
        "claim::lanes_take_turns_within_a_claim",
    ),
    (
        "the first lane is always first",
        "claim::lanes_take_turns_from_claim_to_claim",
    ),
    (
        "marks are due later",
        "claim::marks_merge_into_the_earlier_time",
    ),
    ("leases never lapse", "claim::a_lapsed_lease_is_due_work"),
    (
        "poison is claimed with others",
        "claim::what_killed_three_workers_is_claimed_alone",
    ),
    ("the fence stands", "claim::the_fence_always_rises"),
    ("a claim makes a revision", "claim::claims_make_no_revision"),
    (
        "work is leased twice",
        "claim::nothing_is_leased_to_two_at_once",
    ),
    ("time stands still", "claim::time_goes_on"),
    // wait
    ("nobody waits", "wait::a_waiting_claim_ends_with_new_work"),
    (
        "a wait looks at the beginning only",
        "wait::a_waiting_claim_ends_as_time_goes_on",
    ),
    (
        "what is handed back wakes nobody",
        "wait::a_waiting_claim_ends_with_what_is_handed_back",
    ),
    (
        "everybody waits for ever",
        "wait::a_claim_ends_empty_after_its_wait",
    ),
    (
        "a dropped claim goes on",
        "wait::a_dropped_claim_leaves_nothing_leased",
    ),
    // settle
    ("done is yielded", "settle::what_is_done_is_gone"),
    (
        "marks while claimed are lost",
        "settle::a_mark_while_claimed_is_not_lost",
    ),
    (
        "marks from before count again",
        "settle::a_mark_before_the_claim_is_done_with_it",
    ),
    (
        "a lapse leaves a mark",
        "settle::a_mark_under_a_lapsed_lease_is_done_with_the_next",
    ),
    (
        "a retry is at once",
        "settle::retried_work_is_due_after_its_pause",
    ),
    (
        "reasons are lost",
        "settle::retried_work_is_due_after_its_pause",
    ),
    (
        "a marked retry waits",
        "settle::retried_work_is_due_at_once_if_marked",
    ),
    (
        "a retry keeps its pause",
        "settle::a_mark_brings_retried_work_forward",
    ),
    (
        "a retry is yielded",
        "settle::what_failed_three_times_moves_to_the_failing_lane",
    ),
    (
        "a yield is retried",
        "settle::what_is_yielded_counts_no_attempt",
    ),
    (
        "a marked yield waits",
        "settle::yielded_work_is_due_at_once_if_marked",
    ),
    ("every token is live", "settle::each_is_settled_by_itself"),
    (
        "a lapsed lease settles",
        "settle::a_lapsed_lease_settles_nothing",
    ),
    ("a renewal is too short", "settle::a_renewed_lease_lives_on"),
    (
        "a commit does not settle",
        "settle::a_commit_settles_its_lease",
    ),
    // tail
    (
        "the previous state is forgotten",
        "tail::a_change_is_told_with_its_previous_state",
    ),
    (
        "causes are lost",
        "tail::a_change_is_told_with_its_previous_state",
    ),
    (
        "the feed comes without packages",
        "tail::packages_are_told_if_wanted",
    ),
    (
        "a tail begins one late",
        "tail::a_tail_begins_after_any_revision",
    ),
    ("a tail ends at the head", "tail::a_waiting_tail_is_told"),
    (
        "one reader at a time",
        "tail::every_reader_is_told_everything",
    ),
    (
        "a change is told twice",
        "tail::a_tail_is_exact_under_concurrent_writes",
    ),
    (
        "what has expired is skipped",
        "tail::what_is_no_longer_kept_is_expired",
    ),
    ("a slow reader skips", "tail::a_slow_reader_misses_nothing"),
    (
        "the head is one behind",
        "tail::the_head_says_where_the_feed_is",
    ),
    // history
    (
        "history is oldest first",
        "history::a_history_is_of_one_entity_newest_first",
    ),
    (
        "history is of everything",
        "history::what_never_was_has_no_history",
    ),
    (
        "history has no limit",
        "history::a_history_is_read_in_pieces",
    ),
    (
        "history is lost early",
        "history::a_history_goes_back_as_far_as_it_is_kept",
    ),
    // random: what no directed check looks at
    (
        "joins are forgotten for what is being deleted",
        "random::commits_and_reads_agree_with_the_reference",
    ),
    (
        "an edit is given up by done only",
        "random::claims_and_edits_agree_with_the_reference",
    ),
    // interleaved
    (
        "requirements are checked before",
        "interleaved::commits_are_explained_by_the_feed",
    ),
    (
        "edits are checked before",
        "interleaved::rights_never_overlap",
    ),
    ("leases lapse at once", "interleaved::rights_never_overlap"),
];
