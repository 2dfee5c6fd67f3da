"""Operations on a job. Each stage journals an effect before it has it, so that a retry can continue after a crash."""
