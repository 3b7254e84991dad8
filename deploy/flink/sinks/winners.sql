INSERT INTO commission_winners SELECT * FROM winner;
