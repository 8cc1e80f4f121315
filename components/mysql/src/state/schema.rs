//! The tables, made and changed where they are not what they should be.

use mysql_async::Conn;
use mysql_async::prelude::Queryable as _;

use crate::database::DatabaseError;
use crate::settings::Settings;

/// There is a key of that name, or a column, or a table: somebody else was quicker.
const PRESENT: [u16; 3] = [1050, 1060, 1061];

/// Makes the tables of a store if they are not there, and adds the columns that old ones lack.
pub(super) async fn migrate(connection: &mut Conn, settings: &Settings) -> Result<(), DatabaseError> {
    let Settings {
        schema,
        table,
        metadata_table,
        ..
    } = settings;
    if !has_table(connection, schema, table).await? {
        let create = format!(
            "CREATE TABLE IF NOT EXISTS {table} (
                id VARCHAR(255) NOT NULL PRIMARY KEY,
                value JSON NOT NULL,
                isbinary BOOLEAN NOT NULL,
                insertDate TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
                updateDate TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP,
                eTag VARCHAR(36) NOT NULL,
                expiredate TIMESTAMP NULL,
                row_id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT,
                INDEX expiredate_idx (expiredate),
                UNIQUE KEY row_id_uidx (row_id)
            )"
        );
        run(connection, &create).await?;
    }
    if !has_column(connection, settings, "expiredate").await? {
        run(
            connection,
            &format!("ALTER TABLE {table} ADD COLUMN expiredate TIMESTAMP NULL"),
        )
        .await?;
        run(
            connection,
            &format!("CREATE INDEX expiredate_idx ON {table} (expiredate)"),
        )
        .await?;
    }
    if !has_column(connection, settings, "row_id").await? {
        let add = format!(
            "ALTER TABLE {table} ADD COLUMN row_id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT, \
             ADD UNIQUE KEY row_id_uidx (row_id)"
        );
        run(connection, &add).await?;
    }
    if !has_table(connection, schema, metadata_table).await? {
        let create = format!(
            "CREATE TABLE IF NOT EXISTS {metadata_table} (
                id VARCHAR(255) NOT NULL PRIMARY KEY,
                value TEXT NOT NULL
            )"
        );
        run(connection, &create).await?;
    }
    Ok(())
}

async fn has_table(connection: &mut Conn, schema: &str, table: &str) -> Result<bool, DatabaseError> {
    let select = "SELECT 1 FROM information_schema.tables WHERE table_schema = ? AND table_name = ?";
    let found: Option<i64> = connection.exec_first(select, (schema, table)).await?;
    Ok(found.is_some())
}

async fn has_column(connection: &mut Conn, settings: &Settings, column: &str) -> Result<bool, DatabaseError> {
    let select = "SELECT 1 FROM information_schema.columns \
                  WHERE table_schema = ? AND table_name = ? AND column_name = ?";
    let values = (&settings.schema, &settings.table, column);
    let found: Option<i64> = connection.exec_first(select, values).await?;
    Ok(found.is_some())
}

async fn run(connection: &mut Conn, statement: &str) -> Result<(), DatabaseError> {
    match connection
        .query_drop(statement)
        .await
        .map_err(DatabaseError::from)
    {
        Err(DatabaseError::Server { code, .. }) if PRESENT.contains(&code) => Ok(()),
        outcome => outcome,
    }
}
