INSERT INTO commissions SELECT * FROM commission;
