BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0009');
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
INSERT INTO "journal" VALUES(1,'2c6557da6f324e8789580714b2b918ab',1,'prepare','ready','{"graph": "({''hours'': 1, ''least'': 0}, {''execution.checkpointing.interval'': ''1 s'', ''execution.checkpointing.externalized-checkpoint-retention'': ''RETAIN_ON_CANCELLATION''})"}','2026-11-30 15:15:30.600282');
INSERT INTO "journal" VALUES(2,'2c6557da6f324e8789580714b2b918ab',2,'start','submit','{"release": 1, "flink_job_id": "68f19350f407486daec02684999f9367", "state_path": null}','2026-11-30 15:15:30.606407');
INSERT INTO "journal" VALUES(3,'2c6557da6f324e8789580714b2b918ab',3,'start','submitted','{"flink_job_id": "68f19350f407486daec02684999f9367"}','2026-11-30 15:15:30.611906');
INSERT INTO "journal" VALUES(4,'1d8e2c8f75fb4e1b909beb0b6b8f5335',1,'stop','stop','{"flink_job_id": "68f19350f407486daec02684999f9367", "phase": "suspending", "stop_mode": "savepoint", "trigger_id": "0ea22ec1e69c4462bdeb5f6117ff7c58", "savepoint_directory": "file:///savepoints/test/counts/0ea22ec1e69c4462bdeb5f6117ff7c58"}','2026-11-30 15:15:30.641620');
INSERT INTO "journal" VALUES(5,'1d8e2c8f75fb4e1b909beb0b6b8f5335',2,'stop','stopped','{"flink_job_id": "68f19350f407486daec02684999f9367", "path": "file:///savepoints/test/counts/0ea22ec1e69c4462bdeb5f6117ff7c58/savepoint-1", "savepoint": "file:///savepoints/test/counts/0ea22ec1e69c4462bdeb5f6117ff7c58/savepoint-1"}','2026-11-30 15:15:30.659580');
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
INSERT INTO "operations" VALUES('2c6557da6f324e8789580714b2b918ab','test','counts',NULL,'deploy','me',2,'2026-11-30 15:30:30.623198',1,'2026-11-30 15:15:30.580560','2026-11-30 15:15:30.625224','healthy',NULL,NULL,NULL,NULL,'{"job": "counts", "kind": "deploy", "action": "start", "category": "stateless", "reasons": [], "mode": null, "release": null, "former_release": null, "fingerprint": "6cb1bb0adb0b010e07f97d57346f2519da60bf5e7c7cacdbde2f6c7d39607805", "changes": [], "topics": [], "state": {"kept": [], "altered": [], "dropped": [], "added": []}, "overrides": {}, "needs_approval": false, "no_way_back": null, "expected_downtime_ms": null, "stages": [{"stage": "add_release"}, {"stage": "prepare"}, {"stage": "start", "source": "nothing"}, {"stage": "verify"}, {"stage": "settle"}]}','68f19350f407486daec02684999f9367',NULL,NULL,NULL,NULL,NULL);
INSERT INTO "operations" VALUES('1d8e2c8f75fb4e1b909beb0b6b8f5335','test','counts',NULL,'suspend','me',2,'2026-11-30 15:30:30.699918',1,'2026-11-30 15:15:30.636869','2026-11-30 15:15:30.705616','suspended',NULL,1,'savepoint',NULL,'{"job": "counts", "kind": "suspend", "action": "suspend", "category": "state_compatible", "reasons": [], "mode": "savepoint", "release": 1, "former_release": 1, "fingerprint": "6cb1bb0adb0b010e07f97d57346f2519da60bf5e7c7cacdbde2f6c7d39607805", "changes": [], "topics": [], "state": {"kept": [], "altered": [], "dropped": [], "added": []}, "overrides": {}, "needs_approval": false, "no_way_back": null, "expected_downtime_ms": null, "stages": [{"stage": "stop", "flink_job_id": "68f19350f407486daec02684999f9367", "mode": "savepoint", "suspend": true}]}','68f19350f407486daec02684999f9367','file:///savepoints/test/counts/0ea22ec1e69c4462bdeb5f6117ff7c58/savepoint-1',NULL,NULL,NULL,NULL);
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
INSERT INTO "placements" VALUES('test','counts',1,'68f19350f407486daec02684999f9367',NULL,0,'2026-11-30 15:15:30.660203','suspended','savepoint','0ea22ec1e69c4462bdeb5f6117ff7c58','file:///savepoints/test/counts/0ea22ec1e69c4462bdeb5f6117ff7c58/savepoint-1','null',0,'file:///savepoints/test/counts/0ea22ec1e69c4462bdeb5f6117ff7c58');
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
INSERT INTO "releases" VALUES(1,'test','counts',1,'6cb1bb0adb0b010e07f97d57346f2519da60bf5e7c7cacdbde2f6c7d39607805','ce80b984706f9cf238e9412faa45949c08e8b5b48a70c8adc7b1524356f7954f','flink_jobs.counts','{"parallelism": 1, "state_version": 1, "config": {"hours": 1, "least": 0}, "reads": {"lines": {"topic": "counts_lines", "partitions": 2, "replication": 1, "settings": {}, "watermark_delay": "PT10S", "arrival_skew": "PT1S", "idle_timeout": null, "future_tolerance": "PT1H", "past_tolerance": "P1Y", "max_bytes": 262144, "start": "earliest", "delivery": "exactly-once", "transaction_timeout": "PT15M"}}, "writes": {"counts": {"topic": "counts_out", "partitions": 1, "replication": 1, "settings": {}, "watermark_delay": "PT10S", "arrival_skew": "PT1S", "idle_timeout": "PT30S", "future_tolerance": "PT1H", "past_tolerance": "P1Y", "max_bytes": 262144, "start": "earliest", "delivery": "exactly-once", "transaction_timeout": "PT15M"}}, "options": {"execution.checkpointing.interval": "1 s", "execution.checkpointing.externalized-checkpoint-retention": "RETAIN_ON_CANCELLATION"}}','2026-11-30 15:15:30.587975','2026-11-30 15:15:30.625341','{}','({''hours'': 1, ''least'': 0}, {''execution.checkpointing.interval'': ''1 s'', ''execution.checkpointing.externalized-checkpoint-retention'': ''RETAIN_ON_CANCELLATION''})','{"hours": "open windows keep their old bounds"}','{"consumer_lag": 10000, "watermark_lag": "PT2M", "checkpoint_age": "PT2M", "stall": "PT2M", "restarts": 2, "start_timeout": "PT40S"}');
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
INSERT INTO "savepoints" VALUES(1,'test','counts','file:///savepoints/test/counts/0ea22ec1e69c4462bdeb5f6117ff7c58/savepoint-1',1,'68f19350f407486daec02684999f9367','1d8e2c8f75fb4e1b909beb0b6b8f5335','2026-11-30 15:15:30.654810',NULL);
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
COMMIT;
