-- Whether no change set from `low` on and before `own` waits for its revisions, or for its work to be
-- enqueued.
--
-- It is volatile, so it sees everything that is committed when it is called. The statement that calls
-- it sees only what was committed when that statement began, before it waited for locks.
CREATE FUNCTION none_waits(low bigint, own bigint) RETURNS boolean LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    RETURN NOT EXISTS (SELECT 1 FROM pending WHERE change_set >= low AND change_set < own)
        AND NOT EXISTS (SELECT 1 FROM mark WHERE change_set >= low AND change_set < own);
END $$;
