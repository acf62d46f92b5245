-- Beside the table of each system: where a snapshot is asked for, and the sink's own account, which may update rows and
-- make none. Its password is for a first look on one machine.
CREATE TABLE public.debezium_signal (id text PRIMARY KEY, type text NOT NULL, data text);
CREATE ROLE ownership_writer LOGIN PASSWORD 'for-a-first-look';
GRANT SELECT, UPDATE ON ALL TABLES IN SCHEMA public TO ownership_writer;
REVOKE ALL ON public.debezium_signal FROM ownership_writer;
