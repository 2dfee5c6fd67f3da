"""Operations: what is done to a job, stage by stage, each effect journalled before it is done."""
