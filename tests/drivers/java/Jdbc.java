import com.zaxxer.hikari.HikariConfig;
import com.zaxxer.hikari.HikariDataSource;
import java.io.StringReader;
import java.io.StringWriter;
import java.sql.Array;
import java.sql.BatchUpdateException;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Savepoint;
import java.sql.Statement;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import org.postgresql.PGConnection;
import org.postgresql.PGNotification;
import org.postgresql.copy.CopyManager;
import org.postgresql.largeobject.LargeObject;
import org.postgresql.largeobject.LargeObjectManager;

/** PostgreSQL's JDBC driver with its defaults: statements are prepared from their fifth use on; over HikariCP, too. */
public class Jdbc {
    static final int CLIENTS = 24;
    /** How long one check may take, in seconds. */
    static final int PATIENCE = 60;
    static final String URL =
        "jdbc:postgresql://" + System.getenv("PGHOST") + ":" + System.getenv("PGPORT") + "/" + System.getenv("PGDATABASE");

    interface Check {
        void run() throws Exception;
    }

    static final Map<String, Check> CHECKS = new LinkedHashMap<>();

    static {
        CHECKS.put("values of all kinds come back as they went", Jdbc::values);
        CHECKS.put("more clients than server connections, in transactions, over HikariCP", Jdbc::manyClients);
        CHECKS.put("reads outside of transactions see the client's own writes", Jdbc::ownWrites);
        CHECKS.put("transactions, savepoints and errors", Jdbc::transactions);
        CHECKS.put("read-only connections and isolation levels", Jdbc::modes);
        CHECKS.put("batches, generated keys, and an error in a batch", Jdbc::batches);
        CHECKS.put("COPY in and out", Jdbc::copy);
        CHECKS.put("LISTEN and NOTIFY", Jdbc::listen);
        CHECKS.put("cancellation and timeouts reach the statement, and the connection goes on", Jdbc::cancel);
        CHECKS.put("large results, at once and in parts", Jdbc::largeResults);
        CHECKS.put("large objects", Jdbc::largeObjects);
        CHECKS.put("what it tells about a schema", Jdbc::metadata);
        CHECKS.put("a table that changes under prepared statements", Jdbc::changes);
        CHECKS.put("settings and temporary tables stay with their client", Jdbc::settings);
    }

    public static void main(String[] arguments) throws Exception {
        String driver = "JDBC " + org.postgresql.Driver.class.getPackage().getImplementationVersion();
        String only = arguments.length > 0 ? arguments[0] : "";
        ExecutorService executor = Executors.newCachedThreadPool();
        int failed = 0;
        for (Map.Entry<String, Check> entry : CHECKS.entrySet()) {
            if (!entry.getKey().contains(only)) {
                continue;
            }
            Future<?> run = executor.submit(() -> {
                entry.getValue().run();
                return null;
            });
            try {
                run.get(PATIENCE, TimeUnit.SECONDS);
                System.out.println(driver + ": ok: " + entry.getKey());
            } catch (Exception error) {
                failed = 1;
                System.out.println(driver + ": FAILED: " + entry.getKey());
                (error.getCause() == null ? error : error.getCause()).printStackTrace(System.out);
            }
        }
        System.exit(failed);
    }

    static Connection connect(String... options) throws SQLException {
        Properties properties = new Properties();
        properties.put("user", System.getenv("PGUSER"));
        properties.put("password", System.getenv("PGPASSWORD"));
        for (int at = 0; at < options.length; at += 2) {
            properties.put(options[at], options[at + 1]);
        }
        return DriverManager.getConnection(URL, properties);
    }

    static void equal(Object found, Object expected) {
        if (!expected.equals(found)) {
            throw new AssertionError(found + " instead of " + expected);
        }
    }

    static SQLException fails(String state, Callable<?> call) throws Exception {
        try {
            call.call();
        } catch (SQLException error) {
            if (!state.equals(error.getSQLState())) {
                throw error;
            }
            return error;
        }
        throw new AssertionError("no " + state);
    }

    static void execute(Connection connection, String sql) throws SQLException {
        try (Statement statement = connection.createStatement()) {
            statement.execute(sql);
        }
    }

    static String value(Connection connection, String sql, Object... values) throws SQLException {
        try (PreparedStatement statement = connection.prepareStatement(sql)) {
            for (int at = 0; at < values.length; at++) {
                statement.setObject(at + 1, values[at]);
            }
            try (ResultSet rows = statement.executeQuery()) {
                rows.next();
                return rows.getString(1);
            }
        }
    }

    static int update(Connection connection, String sql, Object... values) throws SQLException {
        try (PreparedStatement statement = connection.prepareStatement(sql)) {
            for (int at = 0; at < values.length; at++) {
                statement.setObject(at + 1, values[at]);
            }
            return statement.executeUpdate();
        }
    }

    static void values() throws Exception {
        try (Connection connection = connect();
                PreparedStatement statement = connection.prepareStatement(
                    "select ?::int, ?::bigint, ?::text, ?::numeric, ?::float8, ?::bytea, ?::timestamptz, ?::uuid, ?::int[], ?::bool")) {
            for (int n = 0; n < 12; n++) {
                Array array = connection.createArrayOf("int4", new Integer[] {1, null, 3});
                Object[] values = {
                    7, 1L << 40, "ä€😀'\\", new java.math.BigDecimal("123.4500"), 1.5e300, new byte[] {0, 1, -1},
                    java.time.OffsetDateTime.parse("2026-01-02T03:04:05.678901Z"), new java.util.UUID(0, 5), array, true};
                for (int at = 0; at < values.length; at++) {
                    statement.setObject(at + 1, values[at]);
                }
                try (ResultSet row = statement.executeQuery()) {
                    row.next();
                    equal(row.getInt(1), 7);
                    equal(row.getLong(2), 1L << 40);
                    equal(row.getString(3), values[2]);
                    equal(row.getBigDecimal(4), values[3]);
                    equal(row.getDouble(5), values[4]);
                    equal(Arrays.toString(row.getBytes(6)), "[0, 1, -1]");
                    equal(row.getObject(7, java.time.OffsetDateTime.class).toInstant().toString(), "2026-01-02T03:04:05.678901Z");
                    equal(row.getObject(8), values[7]);
                    equal(Arrays.toString((Object[]) row.getArray(9).getArray()), "[1, null, 3]");
                    equal(row.getBoolean(10), true);
                }
            }
        }
    }

    static void manyClients() throws Exception {
        HikariConfig config = new HikariConfig();
        config.setJdbcUrl(URL);
        config.setUsername(System.getenv("PGUSER"));
        config.setPassword(System.getenv("PGPASSWORD"));
        config.setMaximumPoolSize(CLIENTS);
        ExecutorService executor = Executors.newFixedThreadPool(CLIENTS);
        try (HikariDataSource pool = new HikariDataSource(config)) {
            List<Future<?>> all = new ArrayList<>();
            for (int worker = 0; worker < CLIENTS; worker++) {
                int id = worker;
                all.add(executor.submit(() -> {
                    work(pool, id);
                    return null;
                }));
            }
            for (Future<?> one : all) {
                one.get();
            }
            try (Connection connection = pool.getConnection()) {
                connection.setAutoCommit(false);
                equal(value(connection, "select count(distinct note) from items"), "" + CLIENTS * 20);
                equal(value(connection, "select sum(balance) from accounts"), "10000");
                connection.commit();
            }
        } finally {
            executor.shutdownNow();
        }
    }

    static void work(HikariDataSource pool, int worker) throws SQLException {
        for (int n = 0; n < 20; n++) {
            try (Connection connection = pool.getConnection()) {
                String note = "w" + worker + "-" + n;
                update(connection, "insert into items (worker, n, note) values (?, ?, ?)", worker, n, note);
                equal(value(connection, "select note from items where worker = ? and n = ?", worker, n), note);
                connection.setAutoCommit(false);
                int one = worker % 10 + 1;
                int other = n % 10 + 1;
                if (one != other) {
                    update(connection, "update accounts set balance = balance - 1 where id = ?", Math.min(one, other));
                    update(connection, "update accounts set balance = balance + 1 where id = ?", Math.max(one, other));
                }
                if (n % 5 == 0) {
                    connection.rollback();
                } else {
                    connection.commit();
                }
            }
        }
    }

    static void ownWrites() throws Exception {
        try (Connection connection = connect()) {
            execute(connection, "create table own (n int)");
            for (int n = 0; n < 50; n++) {
                update(connection, "insert into own values (?)", n);
                equal(value(connection, "select count(*) from own"), "" + (n + 1));
            }
        }
    }

    static void transactions() throws Exception {
        try (Connection connection = connect()) {
            connection.setAutoCommit(false);
            execute(connection, "create table tx (a int primary key)");
            update(connection, "insert into tx values (?)", 1);
            Savepoint savepoint = connection.setSavepoint("s");
            fails("23505", () -> update(connection, "insert into tx values (?)", 1));
            fails("25P02", () -> value(connection, "select 1"));
            connection.rollback(savepoint);
            update(connection, "insert into tx values (?)", 2);
            connection.commit();
            equal(value(connection, "select array_agg(a order by a) from tx"), "{1,2}");
            connection.rollback();
            connection.setAutoCommit(true);
            fails("22012", () -> value(connection, "select 1 / ?", 0));
            fails("42703", () -> value(connection, "select nonsense from tx"));
            equal(value(connection, "select ?::int", 5), "5");
        }
        // Each statement in a savepoint of the driver's own.
        try (Connection connection = connect("autosave", "always")) {
            connection.setAutoCommit(false);
            update(connection, "insert into tx values (?)", 3);
            fails("23505", () -> update(connection, "insert into tx values (?)", 3));
            update(connection, "insert into tx values (?)", 4);
            connection.commit();
            equal(value(connection, "select count(*) from tx"), "4");
        }
    }

    static void modes() throws Exception {
        try (Connection connection = connect()) {
            connection.setReadOnly(true);
            connection.setAutoCommit(false);
            equal(value(connection, "select count(*) > 0 from accounts"), "t");
            fails("25006", () -> update(connection, "insert into items (worker, n) values (-1, 1)"));
            connection.rollback();
            connection.setReadOnly(false);
            for (int n = 0; n < 3; n++) {
                connection.setTransactionIsolation(Connection.TRANSACTION_SERIALIZABLE);
                equal(value(connection, "show transaction_isolation"), "serializable");
                connection.commit();
                connection.setTransactionIsolation(Connection.TRANSACTION_READ_COMMITTED);
                equal(value(connection, "show transaction_isolation"), "read committed");
                connection.commit();
            }
            connection.setAutoCommit(true);
            connection.setSchema("pg_catalog");
            equal(connection.getSchema(), "pg_catalog");
            equal(connection.isValid(5), true);
        }
    }

    static void batches() throws Exception {
        for (String rewrite : new String[] {"false", "true"}) {
            try (Connection connection = connect("reWriteBatchedInserts", rewrite)) {
                execute(connection, "drop table if exists batched");
                execute(connection, "create table batched (id serial primary key, a int unique)");
                try (PreparedStatement statement =
                        connection.prepareStatement("insert into batched (a) values (?)", Statement.RETURN_GENERATED_KEYS)) {
                    for (int n = 0; n < 1000; n++) {
                        statement.setInt(1, n);
                        statement.addBatch();
                    }
                    equal(statement.executeBatch().length, 1000);
                    ResultSet keys = statement.getGeneratedKeys();
                    keys.next();
                    equal(keys.getInt(1), 1);
                    for (int n : new int[] {2000, 5, 2001}) {
                        statement.setInt(1, n);
                        statement.addBatch();
                    }
                    try {
                        statement.executeBatch();
                        throw new AssertionError("no BatchUpdateException");
                    } catch (BatchUpdateException error) {
                        equal(error.getSQLState(), "23505");
                    }
                }
                equal(value(connection, "select count(*) from batched"), "1000");
            }
        }
    }

    static void copy() throws Exception {
        StringBuilder lines = new StringBuilder();
        for (int n = 0; n < 5000; n++) {
            lines.append(n).append("\tnote ").append(n).append("\t\\N\n");
        }
        try (Connection connection = connect()) {
            CopyManager copy = connection.unwrap(PGConnection.class).getCopyAPI();
            equal(copy.copyIn("copy copied from stdin", new StringReader(lines.toString())), 5000L);
            StringWriter out = new StringWriter();
            equal(copy.copyOut("copy (select * from copied order by id) to stdout", out), 5000L);
            equal(out.toString(), lines.toString());
            fails("23505", () -> copy.copyIn("copy copied from stdin", new StringReader(lines.toString())));
            equal(value(connection, "select count(*) from copied"), "5000");
        }
    }

    static void listen() throws Exception {
        try (Connection listener = connect(); Connection other = connect()) {
            execute(listener, "listen driver_jdbc");
            for (int n = 0; n < 5; n++) {
                value(other, "select pg_notify('driver_jdbc', ?)", "" + n);
            }
            List<String> heard = new ArrayList<>();
            for (int n = 0; n < 20 && heard.size() < 5; n++) {
                PGNotification[] some = listener.unwrap(PGConnection.class).getNotifications(1000);
                for (PGNotification one : some == null ? new PGNotification[0] : some) {
                    heard.add(one.getParameter());
                }
            }
            equal(heard, List.of("0", "1", "2", "3", "4"));
            execute(listener, "unlisten *");
        }
    }

    static void cancel() throws Exception {
        try (Connection connection = connect(); Statement statement = connection.createStatement()) {
            statement.setQueryTimeout(1);
            fails("57014", () -> statement.executeQuery("select pg_sleep(30)"));
            statement.setQueryTimeout(0);
            Thread canceller = new Thread(() -> {
                try {
                    Thread.sleep(500);
                    statement.cancel();
                } catch (Exception error) {
                    error.printStackTrace();
                }
            });
            canceller.start();
            fails("57014", () -> statement.executeQuery("select pg_sleep(30)"));
            canceller.join();
            equal(value(connection, "select ?::int", 5), "5");
        }
    }

    static void largeResults() throws Exception {
        String series = "select n, repeat('x', 500) from generate_series(1, 40000) n";
        try (Connection connection = connect()) {
            equal(count(connection, series, 0, 1 << 30), 40_000);
            connection.setAutoCommit(false);
            equal(count(connection, series, 100, 1 << 30), 40_000);
            equal(count(connection, series, 100, 250), 250);
            connection.commit();
            equal(count(connection, series, 0, 5), 5);
            connection.commit();
        }
    }

    static int count(Connection connection, String sql, int fetchSize, int most) throws SQLException {
        try (PreparedStatement statement = connection.prepareStatement(sql)) {
            statement.setFetchSize(fetchSize);
            try (ResultSet rows = statement.executeQuery()) {
                int count = 0;
                while (count < most && rows.next()) {
                    count++;
                }
                return count;
            }
        }
    }

    static void largeObjects() throws Exception {
        try (Connection connection = connect()) {
            connection.setAutoCommit(false);
            LargeObjectManager manager = connection.unwrap(PGConnection.class).getLargeObjectAPI();
            long oid = manager.createLO();
            byte[] bytes = new byte[300_000];
            new java.util.Random(1).nextBytes(bytes);
            try (LargeObject object = manager.open(oid, LargeObjectManager.READWRITE)) {
                object.write(bytes);
                object.seek(0);
                equal(Arrays.equals(object.read(bytes.length), bytes), true);
                equal(object.size(), bytes.length);
            }
            connection.commit();
            manager.delete(oid);
            connection.commit();
        }
    }

    static void metadata() throws Exception {
        try (Connection connection = connect()) {
            for (int n = 0; n < 6; n++) {
                List<String> names = new ArrayList<>();
                try (ResultSet rows = connection.getMetaData().getColumns(null, "public", "items", "%")) {
                    while (rows.next()) {
                        names.add(rows.getString("COLUMN_NAME") + " " + rows.getString("TYPE_NAME"));
                    }
                }
                equal(names, List.of("id int8", "worker int4", "n int4", "note text"));
                try (ResultSet rows = connection.getMetaData().getPrimaryKeys(null, "public", "items")) {
                    rows.next();
                    equal(rows.getString("COLUMN_NAME"), "id");
                }
            }
        }
    }

    static void changes() throws Exception {
        try (Connection connection = connect()) {
            execute(connection, "create table changing (a int); insert into changing values (1)");
            for (int n = 0; n < 10; n++) {
                value(connection, "select * from changing where a = ?", 1);
            }
            execute(connection, "alter table changing add b text default 'x'");
            for (int n = 0; n < 10; n++) {
                try (PreparedStatement statement = connection.prepareStatement("select * from changing where a = ?")) {
                    statement.setInt(1, 1);
                    try (ResultSet row = statement.executeQuery()) {
                        row.next();
                        equal(row.getString(2), "x");
                    }
                }
            }
        }
    }

    static void settings() throws Exception {
        try (Connection one = connect(); Connection two = connect("options", "-c work_mem=9MB", "ApplicationName", "two")) {
            execute(one, "set work_mem = '7MB'");
            execute(one, "create temp table mine (a int)");
            for (int n = 0; n < 8; n++) {
                equal(value(one, "show work_mem"), "7MB");
                equal(value(two, "show work_mem"), "9MB");
                equal(value(two, "show application_name"), "two");
                equal(value(one, "select count(*) from mine"), "0");
            }
        }
    }
}
