-- For a server that is used only by deribit-perps, such as the container's and the embedded one: only the superuser may connect to the
-- other databases.
revoke all on database postgres from public;
revoke all on database template1 from public;
