-- Who develops at what age, and how many work at what.
CREATE TEMPORARY VIEW people USING csv OPTIONS (path '/data/people', header 'true');

INSERT OVERWRITE DIRECTORY '/data/result/developers' USING csv OPTIONS (header 'true')
SELECT * FROM people WHERE job = 'Developer' AND age BETWEEN 20 AND 40;

INSERT OVERWRITE DIRECTORY '/data/result/jobs' USING json
SELECT job, count(*) AS count FROM people GROUP BY job ORDER BY job;
