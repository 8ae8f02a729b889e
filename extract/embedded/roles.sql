-- Prepares a database for deribit-perps, once: the extension, the role `perps`, which owns the database and is not a superuser, and the
-- role `perps_reader`, which may only read, including tables created later. The embedded server runs this file in every database that
-- it creates, and the container on its first start. On your own server, run it as an administrator in a new database:
--   PERPS_PASSWORD=... PERPS_READER_PASSWORD=... psql --dbname=perps --file=extract/embedded/roles.sql
-- Existing roles keep their passwords. You may run this file again, even if there are tables. It is one transaction and needs psql 14
-- or later.
\set ON_ERROR_STOP on
\set QUIET on
\getenv perps_password PERPS_PASSWORD
\getenv perps_reader_password PERPS_READER_PASSWORD
\if :{?perps_password}
\else
    \set perps_password ''
\endif
\if :{?perps_reader_password}
\else
    \set perps_reader_password ''
\endif

begin;

select
    rolsuper as is_superuser
from pg_roles
where rolname = current_user
\gset

-- passwords are stored as SCRAM verifiers; if this role may, it keeps these statements out of the server's log
set local password_encryption = 'scram-sha-256';
\if :is_superuser
    set local log_statement = 'none';
    set local log_min_error_statement = 'panic';
\endif

select set_config('perps.missing', concat_ws(
    ' and ',
    case when :'perps_password' = '' and to_regrole('perps') is null then 'PERPS_PASSWORD' end,
    case when :'perps_reader_password' = '' and to_regrole('perps_reader') is null then 'PERPS_READER_PASSWORD' end
), true)
\g /dev/null

do $$
begin
    if current_setting('perps.missing') <> '' then
        raise exception '% is not set; set it in the environment to a password for the role, and run this again',
            current_setting('perps.missing');
    end if;
end
$$;

select format('create role %I login nosuperuser nocreatedb nocreaterole noreplication nobypassrls password %L', role.name, role.password)
from (values ('perps', :'perps_password'), ('perps_reader', :'perps_reader_password')) as role (name, password)
where to_regrole(role.name) is null
\gexec

alter role perps_reader set default_transaction_read_only = on;

set local client_min_messages = 'error';
create extension if not exists timescaledb;
select current_setting('timescaledb.license') = 'apache' as is_apache
\gset
\if :is_apache
    -- the extension's only job fails on every run under the Apache licence
    update _timescaledb_config.bgw_job set scheduled = false;
\endif

select format('alter database %I owner to perps', current_database())
union all
select format('revoke all on database %I from public', current_database())
union all
select format('grant connect on database %I to perps_reader', current_database())
\gexec

grant usage on schema public to perps_reader;
alter default privileges for role perps grant usage on schemas to perps_reader;
alter default privileges for role perps grant select on tables to perps_reader;

-- for what was created before the role perps_reader
do $$
declare
    made record;
begin
    for made in select nspname from pg_namespace where nspowner = to_regrole('perps')
    loop
        execute format('grant usage on schema %I to perps_reader', made.nspname);
    end loop;
    for made in
        select oid::regclass as relation from pg_class
        where relowner = to_regrole('perps')
            and relkind in ('r', 'v')
            and relnamespace::regnamespace::text !~ '^_timescaledb'
    loop
        execute format('grant select on %s to perps_reader', made.relation);
    end loop;
end
$$;

-- PostgreSQL grants these to everyone: advisory locks, with which a reader could block loads and builds for ever, and large objects,
-- with which it could fill the disk
do $$
declare
    closed regprocedure;
begin
    for closed in
        select oid from pg_proc
        where pronamespace = 'pg_catalog'::regnamespace
            and (
                proname ~ '^pg_(try_)?advisory_(xact_)?lock'
                or proname in ('lo_create', 'lo_creat', 'lo_from_bytea')
            )
    loop
        execute format('revoke execute on function %s from public', closed);
        execute format('grant execute on function %s to perps', closed);
    end loop;
end
$$;

commit;
