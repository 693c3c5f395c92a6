-- What the programs of this folder find. It is made before they start, on all nodes.
create table items (
    id bigint generated always as identity primary key,
    worker int not null,
    n int not null,
    note text,
    unique (worker, n)
);
create table accounts (id int primary key, balance bigint not null);
insert into accounts select id, 1000 from generate_series(1, 10) id;
create table copied (id int primary key, note text, data bytea);
create type mood as enum ('sad', 'ok', 'happy');
create type point3 as (x int, y int, z text);
