-- For a server that holds nothing but deribit-perps, as the container's and the embedded one: nobody but its superuser enters the
-- other databases.
revoke all on database postgres from public;
revoke all on database template1 from public;
