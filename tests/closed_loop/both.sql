-- Beside the table of each system: where a snapshot is asked for, who wrote in which transaction (for the judge), and
-- the sink's own account, which may update rows and make none.
CREATE TABLE public.debezium_signal (id text PRIMARY KEY, type text NOT NULL, data text);

CREATE TABLE public.audit (txid bigint NOT NULL, who text NOT NULL);
CREATE FUNCTION public.noted() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS
$$ BEGIN INSERT INTO public.audit VALUES (txid_current(), session_user); RETURN NULL; END $$;
CREATE TRIGGER noted AFTER INSERT OR UPDATE OR DELETE ON {table} FOR EACH ROW EXECUTE FUNCTION public.noted();

DO $$ BEGIN CREATE ROLE ownership_writer LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$;
GRANT SELECT, UPDATE ON {table} TO ownership_writer;
GRANT CREATE ON SCHEMA public TO ownership_writer;  -- the bookkeeping of `examples/reference_writer.py`

-- Whoever saves a row anew takes our mark away: only a write of ours brings one, and so a repeated one is seen.
CREATE FUNCTION public.unmark() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.sync_change_id = OLD.sync_change_id THEN NEW.sync_change_id := NULL; END IF; RETURN NEW; END $$;
CREATE TRIGGER unmark BEFORE UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION public.unmark(); -- sync_change_id
