-- What an administrator prepares once in a database for deribit-perps: the extension, the role `perps` that owns the database and is
-- no superuser, and the role `perps_reader` that only reads, also what is made later. The embedded server runs it in every database
-- that it makes, the container on its first start; on a server of your own, as an administrator, in a database made for it:
--   PERPS_PASSWORD=... PERPS_READER_PASSWORD=... psql --dbname=perps --file=extract/embedded/roles.sql
-- Roles that exist already keep their passwords. It may be run again, also once there are tables. All of it is one transaction; it
-- takes a psql of version 14 or later.
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

-- passwords are stored as SCRAM verifiers; where this role may say so, the log of the server gets none of these statements
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
        raise exception 'expected a password for each role, got none in %; set it in the environment and run this again',
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

-- what was made before there was a reader
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

-- PostgreSQL gives both to everyone in this database: advisory locks, with which a reader could keep loads and builds waiting for
-- ever, and large objects, with which it could fill the disk
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
