CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
CREATE TABLE approvals (
	id INTEGER NOT NULL, 
	environment VARCHAR(63) NOT NULL, 
	job VARCHAR(63) NOT NULL, 
	waiting_job VARCHAR(63), 
	asker VARCHAR(500) NOT NULL, 
	fingerprint VARCHAR(64) NOT NULL, 
	"plan" JSON NOT NULL, 
	why VARCHAR(4000) NOT NULL, 
	link VARCHAR(2000), 
	asked_at DATETIME NOT NULL, 
	until DATETIME NOT NULL, 
	answer VARCHAR(20), 
	answered_by VARCHAR(500), 
	answered_at DATETIME, 
	PRIMARY KEY (id), 
	UNIQUE (environment, waiting_job)
);
CREATE TABLE journal (
	id INTEGER NOT NULL, 
	operation VARCHAR(32) NOT NULL, 
	number INTEGER NOT NULL, 
	stage VARCHAR(40) NOT NULL, 
	event VARCHAR(40) NOT NULL, 
	data JSON NOT NULL, 
	at DATETIME NOT NULL, 
	PRIMARY KEY (id), 
	UNIQUE (operation, number), 
	FOREIGN KEY(operation) REFERENCES operations (id)
);
CREATE TABLE operations (
	id VARCHAR(32) NOT NULL, 
	environment VARCHAR(63) NOT NULL, 
	job VARCHAR(63) NOT NULL, 
	active_job VARCHAR(63), 
	kind VARCHAR(20) NOT NULL, 
	holder VARCHAR(500) NOT NULL, 
	token INTEGER NOT NULL, 
	lease_until DATETIME NOT NULL, 
	release INTEGER NOT NULL, 
	started_at DATETIME NOT NULL, 
	ended_at DATETIME, 
	outcome VARCHAR(20), 
	reason VARCHAR(4000), former_release INTEGER, mode VARCHAR(20), note VARCHAR(1000), "plan" JSON, flink_job_id VARCHAR(32), savepoint VARCHAR(2000), restored_from VARCHAR(2000), downtime_ms INTEGER, approved_by VARCHAR(500), approved_at DATETIME, 
	PRIMARY KEY (id), 
	UNIQUE (environment, active_job)
);
CREATE TABLE "placements" (
	environment VARCHAR(63) NOT NULL, 
	job VARCHAR(63) NOT NULL, 
	release INTEGER NOT NULL, 
	flink_job_id VARCHAR(32) NOT NULL, 
	restored_from VARCHAR(2000), 
	had_checkpoint BOOLEAN NOT NULL, 
	since DATETIME NOT NULL, phase VARCHAR(20) DEFAULT 'running' NOT NULL, stop_mode VARCHAR(20), trigger_id VARCHAR(32), state_path VARCHAR(2000), positions JSON, carried_over BOOLEAN DEFAULT 0 NOT NULL, savepoint_directory VARCHAR(2000), 
	PRIMARY KEY (environment, job)
);
CREATE TABLE releases (
	id INTEGER NOT NULL, 
	environment VARCHAR(63) NOT NULL, 
	job VARCHAR(63) NOT NULL, 
	number INTEGER NOT NULL, 
	fingerprint VARCHAR(64) NOT NULL, 
	artifact VARCHAR(64) NOT NULL, 
	module VARCHAR(255) NOT NULL, 
	resolved JSON NOT NULL, 
	created_at DATETIME NOT NULL, 
	healthy_at DATETIME, overrides JSON DEFAULT '{}' NOT NULL, graph VARCHAR(64), meanings JSON, health JSON, 
	PRIMARY KEY (id), 
	UNIQUE (environment, job, number)
);
CREATE TABLE replay_chunks (
	replay VARCHAR(32) NOT NULL, 
	number INTEGER NOT NULL, 
	name VARCHAR(255) NOT NULL, 
	state VARCHAR(20) NOT NULL, 
	taker VARCHAR(500), 
	flink_job_id VARCHAR(32), 
	attempt INTEGER NOT NULL, 
	records BIGINT, 
	reason VARCHAR(4000), 
	began_at DATETIME, 
	ended_at DATETIME, 
	PRIMARY KEY (replay, number), 
	FOREIGN KEY(replay) REFERENCES replays (id)
);
CREATE TABLE replays (
	id VARCHAR(32) NOT NULL, 
	environment VARCHAR(63) NOT NULL, 
	job VARCHAR(63) NOT NULL, 
	holder VARCHAR(500) NOT NULL, 
	release INTEGER NOT NULL, 
	"plan" JSON NOT NULL, 
	note VARCHAR(1000), 
	started_at DATETIME NOT NULL, 
	ended_at DATETIME, 
	outcome VARCHAR(20), 
	records BIGINT, 
	report JSON, 
	promoted_at DATETIME, 
	PRIMARY KEY (id)
);
CREATE TABLE samples (
	id INTEGER NOT NULL, 
	environment VARCHAR(63) NOT NULL, 
	job VARCHAR(255) NOT NULL, 
	at DATETIME NOT NULL, 
	flink_job_id VARCHAR(32), 
	release INTEGER, 
	state VARCHAR(20) NOT NULL, 
	verdict VARCHAR(20) NOT NULL, 
	reasons JSON NOT NULL, 
	consumer_lag BIGINT, 
	lag_per_s FLOAT, 
	watermark_lag_ms BIGINT, 
	records_in_per_s FLOAT, 
	records_out_per_s FLOAT, 
	dead_letters_per_min FLOAT, 
	checkpoint_age_ms BIGINT, 
	checkpoint_duration_ms BIGINT, 
	checkpoint_bytes BIGINT, 
	restarts INTEGER, 
	recent_restarts INTEGER, 
	drift BOOLEAN, 
	readings JSON, run VARCHAR(255), 
	PRIMARY KEY (id)
);
CREATE TABLE savepoints (
	id INTEGER NOT NULL, 
	environment VARCHAR(63) NOT NULL, 
	job VARCHAR(63) NOT NULL, 
	path VARCHAR(2000) NOT NULL, 
	release INTEGER NOT NULL, 
	flink_job_id VARCHAR(32) NOT NULL, 
	operation VARCHAR(32) NOT NULL, 
	taken_at DATETIME NOT NULL, 
	deleted_at DATETIME, 
	PRIMARY KEY (id)
);
CREATE TABLE told (
	environment VARCHAR(63) NOT NULL, 
	listener VARCHAR(100) NOT NULL, 
	subject VARCHAR(20) NOT NULL, 
	job VARCHAR(255) NOT NULL, 
	value VARCHAR(255) NOT NULL, 
	at DATETIME NOT NULL, 
	PRIMARY KEY (environment, listener, subject, job)
);
CREATE INDEX ix_savepoints_job ON savepoints (job);
CREATE INDEX ix_samples_job ON samples (environment, job, at);
CREATE INDEX ix_replays_job ON replays (environment, job, started_at);
CREATE INDEX ix_approvals_job ON approvals (job);
CREATE INDEX ix_samples_curves ON samples (environment, at, job, consumer_lag, watermark_lag_ms);
CREATE INDEX ix_operations_newest ON operations (environment, job, started_at, kind, outcome);
